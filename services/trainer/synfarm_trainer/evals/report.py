"""The records of one frozen network: k-NN beside floors that need no learning, and a linear probe, on one split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synfarm_trainer.config import EvalConfig
from synfarm_trainer.evals import linear
from synfarm_trainer.evals.knn import colour_histogram, evaluate, raw_pixels
from synfarm_trainer.evals.shares import Pool
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.ranks import Ranks

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
    ranks: Ranks | None = None,
    floors: MutableMapping[str, Any] | None = None,
    suffix: str = "",
) -> Iterator[dict[str, Any]]:
    """The records that the configuration asks for, by ``name``: ``evals/<step>/<name>.json``.

    Shares are in 0 to 1, standard errors by bootstrap over captions; ``bank`` is what k-NN looks in and the probe is
    fitted to. ``common`` stands in each: the step, and whose backbone it is.

    Args:
        bank, test: this rank's share of them; every rank must call, the first one has the records.
        floors: those of an earlier call with the same images, which are taken, or a place to leave them in.
        suffix: of the names.
    """
    ranks, floors = ranks or Ranks(), {} if floors is None else floors
    pools = [Pool(ranks, images.captions) for images in (bank, test)]
    seen_bank, seen_test = (_seen(backbone, *both) for both in zip((bank, test), pools, strict=True))
    if config.knn and not floors:
        for name, plain in (("raw_pixels", _bytes_of_pixels), ("colour_histogram", colour_histogram)):
            of_bank, of_test = (pool(plain(each.pixels)) for each, pool in zip((bank, test), pools, strict=True))
            found = _nearest(seen_bank, seen_test, of_bank, of_test, config, classes) if ranks.is_first else {}
            floors[name] = found
    if not ranks.is_first:
        return
    sizes = {
        "classes": classes,
        "bank_images": len(seen_bank.labels),
        "test_images": len(seen_test.labels),
        "test_captions": len(np.unique(seen_test.captions)),
    }
    if config.knn:
        found = _nearest(seen_bank, seen_test, seen_bank.features, seen_test.features, config, classes)
        yield {"name": f"knn{suffix}", **common, **found, "floors": dict(floors), "k": config.k, **sizes}
    if config.linear:
        probed = linear.evaluate(
            seen_bank.features,
            seen_bank.labels,
            seen_bank.captions,
            seen_test.features,
            seen_test.labels,
            seen_test.captions,
            among=linear.penalties(config.linear_penalties),
            resamples=config.bootstrap,
            seed=0,
        )
        yield {"name": f"linear{suffix}", **common, **probed.to_dict(), **sizes}


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """Images of all ranks, as a network sees them."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    captions: NDArray[np.int64]


def _seen(backbone: nn.Module, images: LabelledImages, pool: Pool) -> _Seen:
    return _Seen(pool(features(backbone, images.pixels)), pool(images.labels), pool(images.captions))


def _bytes_of_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """They are whole numbers: a quarter of the memory on their way between ranks."""
    return raw_pixels(pixels).astype(np.uint8)


def _nearest(
    bank: _Seen,
    test: _Seen,
    of_bank: NDArray[Any],
    of_test: NDArray[Any],
    config: EvalConfig,
    classes: int,
) -> dict[str, Any]:
    return evaluate(
        of_bank.astype(np.float32),
        bank.labels,
        of_test.astype(np.float32),
        test.labels,
        test.captions,
        k=config.k,
        classes=classes,
        resamples=config.bootstrap,
        seed=0,
    ).to_dict()
