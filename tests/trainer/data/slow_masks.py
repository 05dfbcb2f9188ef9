"""Masks in plain Python, an image and a patch at a time, from the same keyed bits."""

from __future__ import annotations

import math

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of, uniform
from synfarm_trainer.config import TrainConfig

__all__ = ["Crop", "masks"]

Crop = tuple[int, int, int, int]
"""Job, caption index, image number, crop number."""
Patch = tuple[int, int]


def _one_block(word: dict[int, int], grid: int) -> dict[Patch, float]:
    """Each patch's distance from the centre."""
    row, column = (uniform(word[part]) * grid for part in (2, 3))
    stretch = math.exp((2 * uniform(word[4]) - 1) * math.log(1 / 0.3) / 2)
    return {
        (y, x): max(abs(y + 0.5 - row) * stretch, abs(x + 0.5 - column) / stretch)
        for y in range(grid)
        for x in range(grid)
    }


def _blocks(key: int, epoch: int, crop: Crop, grid: int, amount: int) -> set[Patch]:
    covered: set[Patch] = set()
    for attempt in range(32):
        area_of, shape, row, column = (uniform(bits(key, epoch, *crop, 6, attempt, part)) for part in range(4))
        wanted = amount - len(covered)
        area, aspect = 4 + (wanted - 4) * area_of, math.exp((2 * shape - 1) * math.log(1 / 0.3))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        top, left = int(row * (grid - height + 1) // 1), int(column * (grid - width + 1) // 1)
        block = {(y, x) for y in range(top, top + height) for x in range(left, left + width)}
        if max(height, width) < grid and 0 < len(block - covered) <= wanted:
            covered |= block
    return covered


def _mask(config: TrainConfig, key: int, epoch: int, crop: Crop, amount: int) -> list[bool]:
    grid = config.augment.size // config.model.patch
    patches = [(y, x) for y in range(grid) for x in range(grid)]
    word = {patch: _signed(bits(key, epoch, *crop, 1, place)) for place, patch in enumerate(patches)}
    if config.mask.shape == "block":
        first = _one_block({part: bits(key, epoch, *crop, part) for part in (2, 3, 4)}, grid)
    elif config.mask.shape == "blocks":
        covered = _blocks(key, epoch, crop, grid, amount)
        first = {patch: float(patch not in covered) for patch in patches}
    else:
        first = dict.fromkeys(patches, 0.0)
    order = sorted(patches, key=lambda patch: (first[patch], word[patch]))
    return [patch in order[:amount] for patch in patches]


def _signed(word: int) -> int:
    """Arrays hold the bits as signed numbers, and so are sorted by them."""
    return word - (1 << 64) if word >> 63 else word


def masks(config: TrainConfig, seed: int, epoch: int, crops: list[Crop]) -> list[list[bool]]:
    """Of whole cells in batch order; those without masks are all False."""
    key, per_cell, per_caption = key_of(seed, Purpose.MASK), config.cell_images, config.crops_of_caption
    share = int(per_cell * config.mask.images)
    low, high = config.mask.ratio
    found: list[list[bool]] = []
    for start in range(0, len(crops), per_cell):
        cell = crops[start : start + per_cell]
        lot = {crop: _signed(bits(key, epoch, *crop, 0)) for crop in cell}
        view = dict.fromkeys(cell, 0)
        if config.mask.first_views:
            for first in range(0, per_cell, per_caption):
                caption = cell[first : first + per_caption]
                in_turn = sorted(caption, key=lambda crop: _signed(bits(key, epoch, *crop[:3], 0, 5)))
                view.update({crop: place for place, crop in enumerate(in_turn)})
        chosen = sorted(cell, key=lambda crop: (view[crop], lot[crop]))[:share]
        ratios = [low + (high - low) * (stratum + 0.5) / share for stratum in range(share)]
        counts = {
            crop: int(ratio * config.patches)
            for crop, ratio in zip(sorted(chosen, key=lambda crop: lot[crop]), ratios, strict=True)
        }
        found += [_mask(config, key, epoch, crop, counts.get(crop, 0)) for crop in cell]
    return found
