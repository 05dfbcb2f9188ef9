"""The pixels' work in compiled loops: the bits of ``reference``, several times as fast. Loads numba.

A crop needs three compiled functions, between which there is little to do, so that many threads hardly meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from synfarm_trainer.data.augment.compiled_colours import begin, finish
from synfarm_trainer.data.augment.compiled_resize import columns_first, resize
from synfarm_trainer.data.augment.params import CropParams
from synfarm_trainer.data.augment.reference import gaussian, resized

__all__ = ["ImageColumns", "apply_crop"]

Pixels = NDArray[np.uint8]
_NO_ORDER, _NO_TAPS = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)


@dataclass(frozen=True)
class ImageColumns:
    """An image whose columns are worked out once for all of its crops."""

    pixels: Pixels
    """(H, W, 3)"""

    @cached_property
    def columns(self) -> Pixels:
        return columns_first(self.pixels)


def _resized(image: ImageColumns, size: int, params: CropParams, n: int) -> Pixels:
    """(size, 3, size), flipped or not.

    Pillow itself has the rare crops of images made small, and those of images higher than wide, some of which it
    resizes along their columns first.
    """
    height, width, _ = image.pixels.shape
    flip = bool(params.flip[n])
    if params.side[n] or height > width:
        pixels = resized(Image.fromarray(image.pixels), size, params, n)
        return np.ascontiguousarray((pixels[:, ::-1] if flip else pixels).transpose(0, 2, 1))
    made: Pixels = resize(image.columns, params.boxes(n, width, height), size, params.filters.bilinear, flip)
    return made


def apply_crop(image: ImageColumns, size: int, params: CropParams, n: int) -> Pixels:
    """Crop ``n`` of the parameters: (size, size, 3) bytes, those of the reference."""
    sigma, solarize = float(params.sigma[n]), bool(params.solarize[n])
    order, factors = params.order[n] if params.jitter[n] else _NO_ORDER, params.factors[n].astype(np.float32)
    x, luma = begin(_resized(image, size, params, n), order, factors)
    contrast = np.float32(luma.mean(dtype=np.float64)) if luma.size else np.float32(0)
    pillow_blur = sigma > 0 and params.filters.pillow_blur
    taps = gaussian(sigma) if sigma > 0 and not pillow_blur else _NO_TAPS
    pixels: Pixels = finish(x, contrast, order, factors, bool(params.gray[n]), taps, solarize and not pillow_blur)
    if pillow_blur:
        pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))
        pixels = np.where(pixels >= 128, 255 - pixels, pixels) if solarize else pixels
    return pixels
