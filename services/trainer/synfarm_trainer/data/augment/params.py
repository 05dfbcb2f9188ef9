"""The parameters of crops, each drawn by keyed hash.

The parameters of a crop depend on (seed, epoch, caption, image, crop) alone. They are drawn for a whole batch at once,
each from a stream of its own: a family that leaves one out, or asks for one more, leaves the others as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import below, key_of, uniform
from synfarm_trainer.config import AugmentConfig, LocalCropsConfig
from synfarm_trainer.data.cropids import CropIds, Epoch

__all__ = ["CropParams", "Filters", "draw_params", "local_augment", "small_size"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Filters:
    """What the crops of one configuration share: its filters, and which parts may occur at all."""

    bilinear: bool
    """Whether crops are resized by the bilinear filter instead of the bicubic one."""
    pillow_blur: bool
    """Whether the blur is Pillow's instead of a Gaussian of 9 taps."""
    sides: tuple[int, ...]
    """Short sides that an image may be made small to; none where it never is."""
    jitter: bool
    hue: bool
    blur: bool


@dataclass(frozen=True, eq=False)
class CropParams:
    """Parameters of N crops; boxes relative to the image's sides."""

    filters: Filters
    area: Floats
    aspect: Floats
    place: Floats
    """(N, 2): where the box lies in the room that it leaves, horizontally and vertically, 0 to 1."""
    side: NDArray[np.int64]
    """(N,): short side that the image is made small to before it is cut; 0 for none."""
    flip: NDArray[np.bool_]
    jitter: NDArray[np.bool_]
    factors: Floats
    """(N, 4): brightness, contrast, saturation factors; hue shift in turns."""
    order: NDArray[np.int64]
    """(N, 4): the order of these four."""
    gray: NDArray[np.bool_]
    variant_b: NDArray[np.bool_]
    """(N,): of variant B, else A; blur and solarize follow from it."""
    sigma: Floats
    """(N,): of the blur; 0 for none."""
    solarize: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.area)

    def part(self, which: NDArray[np.int64]) -> CropParams:
        """The parameters of some of the crops."""
        return replace(self, **{name: rows[which] for name, rows in self._rows().items()})

    def bytes_of(self, which: NDArray[np.int64]) -> bytes:
        """All that sets some of the crops apart from others, for a digest."""
        return repr(self.filters).encode() + b"".join(rows[which].tobytes() for rows in self._rows().values())

    def _rows(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "filters"}

    def boxes(self, which: int | slice, width: int, height: int) -> Floats:
        """(..., 4): left, upper, right, lower in pixels of an image; a side that would leave the image is cut to it."""
        area = self.area[which] * width * height
        w = np.minimum(np.sqrt(area * self.aspect[which]), float(width))
        h = np.minimum(np.sqrt(area / self.aspect[which]), float(height))
        place = self.place[which]
        left, upper = (width - w) * place[..., 0], (height - h) * place[..., 1]
        right, lower = np.minimum(left + w, float(width)), np.minimum(upper + h, float(height))
        found: Floats = np.stack([left, upper, right, lower], axis=-1)
        return found


def local_augment(augment: AugmentConfig, local: LocalCropsConfig) -> AugmentConfig:
    """The local crop: its own size, scale and blur, never solarised; the rest as in the global crop."""
    return replace(augment, size=local.size, scale=local.scale, blur_a=local.blur, blur_b=local.blur, solarize_b=0.0)


def small_size(side: int, width: int, height: int) -> tuple[int, int]:
    """The size of an image whose short side was made ``side``, as torchvision rounds it; never larger than it is."""
    short, long = min(width, height), max(width, height)
    if not 0 < side < short:
        return width, height
    other = int(side * long / short)
    return (side, other) if width <= height else (other, side)


def _variant_b(config: AugmentConfig, seed: int, epoch: Epoch, ids: CropIds) -> NDArray[np.bool_]:
    if config.variants == "coin":
        return np.asarray(uniform(ids.word(key_of(seed, Purpose.BLUR), epoch, 2)) < 0.5)
    none = np.zeros_like(ids.k)
    starts = below(replace(ids, k=none, crop=none).word(key_of(seed, Purpose.BLUR), epoch, 3), 2)
    return np.asarray((starts + ids.turn) % 2 == 1)


def draw_params(config: AugmentConfig, seed: int, epoch: Epoch, ids: CropIds) -> CropParams:
    """Parameters of the N crops ``ids``."""

    def draw(purpose: Purpose, what: int) -> Floats:
        drawn: Floats = uniform(ids.word(key_of(seed, purpose), epoch, what))
        return drawn

    def between(low: float, high: float, u: Floats) -> Floats:
        return low + (high - low) * u

    variant_b = _variant_b(config, seed, epoch, ids)
    blurred = draw(Purpose.BLUR, 0) < np.where(variant_b, config.blur_b, config.blur_a)
    strengths = (config.brightness, config.contrast, config.saturation)
    factors = [between(1 - s, 1 + s, draw(Purpose.JITTER, 1 + i)) for i, s in enumerate(strengths)]
    factors.append(between(-config.hue, config.hue, draw(Purpose.JITTER, 4)))
    ratio = np.log(np.array(config.ratio))
    sides = np.array(config.downsample_sides, dtype=np.int64)
    chosen = sides[below(ids.word(key_of(seed, Purpose.DOWNSAMPLE), epoch, 1), len(sides))]
    return CropParams(
        filters=Filters(
            bilinear=config.interpolation == "bilinear",
            pillow_blur=config.blur_form == "pillow",
            sides=config.downsample_sides if config.downsample else (),
            jitter=config.jitter > 0,
            hue=config.jitter > 0 and config.hue > 0,
            blur=max(config.blur_a, config.blur_b) > 0,
        ),
        area=between(config.scale[0], config.scale[1], draw(Purpose.CROP, 0)),
        aspect=np.exp(between(float(ratio[0]), float(ratio[1]), draw(Purpose.CROP, 1))),
        place=np.stack([draw(Purpose.CROP, 2), draw(Purpose.CROP, 3)], axis=-1),
        side=np.where(draw(Purpose.DOWNSAMPLE, 0) < config.downsample, chosen, 0),
        flip=draw(Purpose.FLIP, 0) < config.flip,
        jitter=draw(Purpose.JITTER, 0) < config.jitter,
        factors=np.stack(factors, axis=-1),
        order=np.argsort(np.stack([draw(Purpose.JITTER, 5 + i) for i in range(4)], axis=-1), axis=-1, kind="stable"),
        gray=draw(Purpose.GRAY, 0) < config.gray,
        variant_b=variant_b,
        sigma=np.where(blurred, between(0.1, 2.0, draw(Purpose.BLUR, 1)), 0.0),
        solarize=variant_b & (draw(Purpose.SOLARIZE, 0) < config.solarize_b),
    )
