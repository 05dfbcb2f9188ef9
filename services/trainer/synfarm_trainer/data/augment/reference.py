"""The pixels' work image by image: what the loader's threads do, and what the device form is measured against.

Fixed arithmetic (Pillow's integer resampling, float32 element by element), so the bits are the same on any number of
ranks and threads. Between the parts of the jitter, gray and the Gaussian pixels stay floats, where torchvision rounds
to bytes after each; hue, Pillow's blur and solarize take bytes here too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from synfarm_trainer.data.augment.params import CropParams, small_size

__all__ = ["apply_crop", "gaussian", "resized"]

_GRAY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_BLUR_RADIUS = 4
"""Kernel 9, as in the release."""

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


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


def gaussian(sigma: float) -> NDArray[np.float32]:
    """(9,)"""
    offsets = np.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    found: NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)
    return found


def _blur(x: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    kernel = gaussian(sigma)
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


def _downsample(image: Image.Image, side: int) -> Image.Image:
    """Made small and brought back to its size (StableRep's Downsample)."""
    size = small_size(side, *image.size)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BILINEAR)


def resized(image: Image.Image, size: int, params: CropParams, n: int) -> Pixels:
    """Crop ``n`` of the parameters as it is before its flip and its colours: (size, size, 3) bytes."""
    how = Image.Resampling.BILINEAR if params.filters.bilinear else Image.Resampling.BICUBIC
    left, upper, right, lower = params.boxes(n, *image.size).tolist()
    return np.asarray(
        _downsample(image, int(params.side[n])).resize((size, size), how, box=(left, upper, right, lower))
    )


def apply_crop(image: Image.Image, size: int, params: CropParams, n: int) -> Pixels:
    """Crop ``n`` of the parameters cut from an RGB image: (size, size, 3) bytes."""
    filters, pixels = params.filters, resized(image, size, params, n)
    if params.flip[n]:
        pixels = pixels[:, ::-1]
    jitter, sigma = bool(params.jitter[n]), float(params.sigma[n])
    gaussian = sigma > 0 and not filters.pillow_blur
    if jitter or gaussian or params.gray[n]:
        x = pixels.astype(np.float32)
        if jitter:
            x = _jitter(x, params.factors[n], params.order[n])
        if params.gray[n]:
            x = np.repeat(_luma(x)[..., None], 3, axis=-1)
        if gaussian:
            x = _blur(x, sigma)
        pixels = _bytes(x)
    if sigma > 0 and filters.pillow_blur:
        pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).filter(ImageFilter.GaussianBlur(sigma)))
    if params.solarize[n]:
        pixels = np.where(pixels >= 128, 255 - pixels, pixels)
    return np.ascontiguousarray(pixels)
