"""The crops of method section 3.2, with every parameter drawn by keyed hash.

The parameters of a crop depend on (seed, epoch, caption, image, crop) alone. They are drawn for a whole batch at once;
pixels are then worked image by image in fixed arithmetic (Pillow's integer resampling, float32 element by element), so
the bits are the same on any number of ranks and threads.
Order: resized crop, flip, colour jitter (its four parts in a drawn order), gray, blur, solarize.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import key_of, uniform
from synfarm_trainer.config import AugmentConfig, LocalCropsConfig
from synfarm_trainer.data.cropids import CropIds

__all__ = ["CropParams", "apply_crop", "draw_params", "local_augment"]

_GRAY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_BLUR_RADIUS = 4
"""Kernel 9, as in the release."""

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class CropParams:
    """Parameters of N crops; boxes relative to the image's sides."""

    area: Floats
    aspect: Floats
    place: Floats
    """(N, 2): where the box lies in the room that it leaves, horizontally and vertically, 0 to 1."""
    flip: NDArray[np.bool_]
    jitter: NDArray[np.bool_]
    factors: Floats
    """(N, 4): brightness, contrast, saturation factors; hue shift in turns."""
    order: NDArray[np.int64]
    """(N, 4): the order of these four."""
    gray: NDArray[np.bool_]
    sigma: Floats
    """(N,): of the blur; 0 for none."""
    solarize: NDArray[np.bool_]


def local_augment(augment: AugmentConfig, local: LocalCropsConfig) -> AugmentConfig:
    """The local crop: its own size, scale and blur, never solarised; the rest as in the global crop."""
    return replace(augment, size=local.size, scale=local.scale, blur_a=local.blur, blur_b=local.blur, solarize_b=0.0)


def draw_params(config: AugmentConfig, seed: int, epoch: int, ids: CropIds) -> CropParams:
    """Parameters of the N crops ``ids``."""

    def draw(purpose: Purpose, what: int) -> Floats:
        drawn: Floats = uniform(ids.word(key_of(seed, purpose), epoch, what))
        return drawn

    def between(low: float, high: float, u: Floats) -> Floats:
        return low + (high - low) * u

    variant_b = draw(Purpose.BLUR, 2) < 0.5
    blurred = draw(Purpose.BLUR, 0) < np.where(variant_b, config.blur_b, config.blur_a)
    strengths = (config.brightness, config.contrast, config.saturation)
    factors = [between(1 - s, 1 + s, draw(Purpose.JITTER, 1 + i)) for i, s in enumerate(strengths)]
    factors.append(between(-config.hue, config.hue, draw(Purpose.JITTER, 4)))
    ratio = np.log(np.array(config.ratio))
    return CropParams(
        area=between(config.scale[0], config.scale[1], draw(Purpose.CROP, 0)),
        aspect=np.exp(between(float(ratio[0]), float(ratio[1]), draw(Purpose.CROP, 1))),
        place=np.stack([draw(Purpose.CROP, 2), draw(Purpose.CROP, 3)], axis=-1),
        flip=draw(Purpose.FLIP, 0) < config.flip,
        jitter=draw(Purpose.JITTER, 0) < config.jitter,
        factors=np.stack(factors, axis=-1),
        order=np.argsort(np.stack([draw(Purpose.JITTER, 5 + i) for i in range(4)], axis=-1), axis=-1, kind="stable"),
        gray=draw(Purpose.GRAY, 0) < config.gray,
        sigma=np.where(blurred, between(0.1, 2.0, draw(Purpose.BLUR, 1)), 0.0),
        solarize=variant_b & (draw(Purpose.SOLARIZE, 0) < config.solarize_b),
    )


def _box(params: CropParams, n: int, width: int, height: int) -> tuple[float, float, float, float]:
    """(left, upper, right, lower) in pixels; a side that would leave the image is cut to it."""
    area = params.area[n] * width * height
    w = min(float(np.sqrt(area * params.aspect[n])), float(width))
    h = min(float(np.sqrt(area / params.aspect[n])), float(height))
    left, upper = (width - w) * float(params.place[n, 0]), (height - h) * float(params.place[n, 1])
    return left, upper, min(left + w, float(width)), min(upper + h, float(height))


def _luma(x: NDArray[np.float32]) -> NDArray[np.float32]:
    gray: NDArray[np.float32] = x[..., 0] * _GRAY[0] + x[..., 1] * _GRAY[1] + x[..., 2] * _GRAY[2]
    return gray


def _shift_hue(x: NDArray[np.float32], turns: float) -> NDArray[np.float32]:
    hsv = np.array(Image.fromarray(_bytes(x)).convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(turns * 255)) % 256
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB")).astype(np.float32)


def _bytes(x: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def _jitter(x: NDArray[np.float32], factors: Floats, order: NDArray[np.int64]) -> NDArray[np.float32]:
    for part in order.tolist():
        factor = np.float32(factors[part])
        if part == 3:
            x = _shift_hue(x, float(factor)) if factor else x
        elif factor != 1:
            if part == 0:
                base: NDArray[np.float32] | np.float32 = np.float32(0)
            else:
                gray = _luma(x)
                base = np.float32(gray.mean(dtype=np.float64)) if part == 1 else gray[..., None]
            x = np.clip(base + (x - base) * factor, 0, 255)
    return x


def _blur(x: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    offsets = np.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (_BLUR_RADIUS, _BLUR_RADIUS)
        padded = np.pad(x, pad, mode="reflect")
        total = np.zeros_like(x)
        for weight, start in zip(kernel, range(len(kernel)), strict=True):
            piece = [slice(None)] * 3
            piece[axis] = slice(start, start + x.shape[axis])
            total = total + weight * padded[tuple(piece)]
        x = total
    return x


def apply_crop(image: Image.Image, size: int, params: CropParams, n: int) -> Pixels:
    """Crop ``n`` of the parameters cut from an RGB image: (size, size, 3) bytes."""
    resized = image.resize((size, size), Image.Resampling.BICUBIC, box=_box(params, n, *image.size))
    pixels: Pixels = np.asarray(resized)
    if params.flip[n]:
        pixels = pixels[:, ::-1]
    jitter, sigma = bool(params.jitter[n]), float(params.sigma[n])
    if jitter or sigma or params.gray[n]:
        x = pixels.astype(np.float32)
        if jitter:
            x = _jitter(x, params.factors[n], params.order[n])
        if params.gray[n]:
            x = np.repeat(_luma(x)[..., None], 3, axis=-1)
        if sigma:
            x = _blur(x, sigma)
        pixels = _bytes(x)
    if params.solarize[n]:
        pixels = np.where(pixels >= 128, 255 - pixels, pixels)
    return np.ascontiguousarray(pixels)
