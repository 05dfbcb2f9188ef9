"""The records of one frozen network: k-NN beside floors that need no learning, and a linear probe, on one split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synfarm_trainer.config import EvalConfig
from synfarm_trainer.evals import linear
from synfarm_trainer.evals.knn import colour_histogram, evaluate, raw_pixels
from synfarm_trainer.models.vit import normalise

__all__ = ["LabelledImages", "features", "reports"]


class LabelledImages(Protocol):
    """N images with their concept codes and captions."""

    @property
    def pixels(self) -> NDArray[np.uint8]: ...
    @property
    def labels(self) -> NDArray[np.int64]: ...
    @property
    def captions(self) -> NDArray[np.int64]: ...


@torch.no_grad()
def features(backbone: nn.Module, pixels: NDArray[np.uint8], *, batch: int = 128) -> NDArray[np.float32]:
    """(n, width): the class token of each image; the module's mode is put back."""
    training = backbone.training
    backbone.eval()
    device = next(backbone.parameters()).device
    pieces = (torch.from_numpy(pixels[i : i + batch]).to(device) for i in range(0, len(pixels), batch))
    parts = [backbone(normalise(piece)) for piece in pieces]
    backbone.train(training)
    return np.asarray(torch.cat(parts).float().cpu().numpy(), dtype=np.float32)


def reports(
    backbone: nn.Module,
    bank: LabelledImages,
    test: LabelledImages,
    config: EvalConfig,
    *,
    common: Mapping[str, Any],
    classes: int,
) -> Iterator[dict[str, Any]]:
    """The records that the configuration asks for, by ``name``: ``evals/<step>/<name>.json``.

    Shares are in 0 to 1, standard errors by bootstrap over captions; ``bank`` is what k-NN looks in and the probe is
    fitted to. ``common`` stands in each: the step, and whose backbone it is.
    """
    of_bank, of_test = features(backbone, bank.pixels), features(backbone, test.pixels)
    sizes = {
        "classes": classes,
        "bank_images": len(bank.labels),
        "test_images": len(test.labels),
        "test_captions": len(np.unique(test.captions)),
    }

    def nearest(of_bank: NDArray[np.float32], of_test: NDArray[np.float32]) -> dict[str, Any]:
        return evaluate(
            of_bank,
            bank.labels,
            of_test,
            test.labels,
            test.captions,
            k=config.k,
            classes=classes,
            resamples=config.bootstrap,
            seed=0,
        ).to_dict()

    if config.knn:
        floors = {
            "raw_pixels": nearest(raw_pixels(bank.pixels), raw_pixels(test.pixels)),
            "colour_histogram": nearest(colour_histogram(bank.pixels), colour_histogram(test.pixels)),
        }
        yield {"name": "knn", **common, **nearest(of_bank, of_test), "floors": floors, "k": config.k, **sizes}
    if config.linear:
        probed = linear.evaluate(
            of_bank,
            bank.labels,
            bank.captions,
            of_test,
            test.labels,
            test.captions,
            among=linear.penalties(config.linear_penalties),
            resamples=config.bootstrap,
            seed=0,
        )
        yield {"name": "linear", **common, **probed.to_dict(), **sizes}
