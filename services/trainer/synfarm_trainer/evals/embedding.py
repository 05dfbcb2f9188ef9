"""Features of a split by a frozen network: images are cut by threads while the network looks at the ones before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from synfarm_trainer.evals.sets.labelled import Split
from synfarm_trainer.evals.sets.looked_at import squares
from synfarm_trainer.models.frozen import Frozen

__all__ = ["augmented_epoch", "embed"]

Floats = NDArray[np.float32]
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
_TRIES = 10


def embed(
    frozen: Frozen,
    split: Split,
    *,
    short: int | None = None,
    batch: int = 128,
    tell: Callable[[int], None] = lambda done: None,
) -> Floats:
    """(n, width) in the split's order, of the middle of each image.

    Args:
        short: pixels of the shorter side before the cut; by default the network's side (method section 5.2).
        tell: takes the number of images done.

    Raises:
        SetInvalid: an image cannot be read.
    """
    parts: list[Floats] = []
    held: list[NDArray[np.uint8]] = []
    for number, square in enumerate(squares(split, frozen.side, short), start=1):
        held.append(square)
        if len(held) == batch or number == len(split):
            parts.append(frozen.embed(torch.from_numpy(np.stack(held))).cpu().numpy())
            held.clear()
            tell(number)
    return np.concatenate(parts)


def augmented_epoch(
    frozen: Frozen, split: Split, number: int, *, batch: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one epoch, shuffled, of crops and flips drawn by (seed, epoch, image); an incomplete one is left out.

    RandomResizedCrop of (.08, 1) of the area, bilinear, and a flip by a fair coin (method section 5.1).
    """
    order = np.random.default_rng([seed, number]).permutation(len(split))
    with ThreadPoolExecutor(min(32, cpu_count() or 1)) as pool:
        for start in range(0, len(order) - batch + 1, batch):
            rows = order[start : start + batch]
            crops = pool.map(lambda row: _crop(split.image(int(row)), frozen.side, (seed, number, int(row))), rows)
            yield frozen.embed(torch.from_numpy(np.stack(list(crops)))).clone(), torch.from_numpy(split.labels[rows])


def _crop(image: Image.Image, side: int, key: tuple[int, ...]) -> NDArray[np.uint8]:
    draw = np.random.default_rng(key)
    width, height = image.size
    left, top, w, h = 0.0, 0.0, float(min(width, height)), float(min(width, height))
    left, top = (width - w) / 2, (height - h) / 2
    for _ in range(_TRIES):
        area = draw.uniform(*_AREA) * width * height
        ratio = np.exp(draw.uniform(np.log(_RATIO[0]), np.log(_RATIO[1])))
        wide, high = np.sqrt(area * ratio), np.sqrt(area / ratio)
        if wide <= width and high <= height:
            w, h = float(wide), float(high)
            left, top = draw.uniform(0, width - w), draw.uniform(0, height - h)
            break
    cut = image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    pixels = np.asarray(cut)
    return pixels[:, ::-1].copy() if draw.random() < 0.5 else pixels
