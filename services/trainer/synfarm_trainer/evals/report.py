"""The k-NN record of one network: its accuracy beside floors that need no learning, on the same split."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synfarm_trainer.config import EvalConfig
from synfarm_trainer.evals.knn import KnnResult, colour_histogram, evaluate, raw_pixels
from synfarm_trainer.models.vit import normalise

__all__ = ["LabelledImages", "features", "knn_report"]


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
    parts = [backbone(normalise(torch.from_numpy(pixels[i : i + batch]))) for i in range(0, len(pixels), batch)]
    backbone.train(training)
    return np.asarray(torch.cat(parts).float().numpy(), dtype=np.float32)


def knn_report(
    backbone: nn.Module, bank: LabelledImages, test: LabelledImages, config: EvalConfig, *, step: int, classes: int
) -> dict[str, Any]:
    """``evals/<step>/knn.json``: shares in 0 to 1, standard errors by bootstrap over captions."""

    def result(of_bank: NDArray[np.float32], of_test: NDArray[np.float32]) -> KnnResult:
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
        )

    return {
        "name": "knn",
        "step": step,
        "network": "teacher backbone",
        **result(features(backbone, bank.pixels), features(backbone, test.pixels)).to_dict(),
        "floors": {
            "raw_pixels": result(raw_pixels(bank.pixels), raw_pixels(test.pixels)).to_dict(),
            "colour_histogram": result(colour_histogram(bank.pixels), colour_histogram(test.pixels)).to_dict(),
        },
        "k": config.k,
        "classes": classes,
        "bank_images": len(bank.labels),
        "test_images": len(test.labels),
        "test_captions": len(np.unique(test.captions)),
    }
