"""Checks and encodes images, in threads beside the drawing of the next batch."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image

from synfarm.queue.unit import UnitFault
from synfarm_render_worker.renderer import Pixels

__all__ = ["BadImage", "check", "encode", "resized"]

_FLAT = 1.0
_BLACK = 4.0


class BadImage(UnitFault):
    """An image that must not enter a data set: the message says whose, and what is wrong with it."""


def check(pixels: Pixels, size: int, label: str) -> None:
    """Refuse what a broken sampler gives.

    NaN never reaches here as such: a renderer that works in floats refuses it before the cast to bytes.

    Raises:
        BadImage: wrong shape or type, black, or flat.
    """
    if pixels.shape != (size, size, 3) or pixels.dtype != np.uint8:
        raise BadImage(f"{label}: the renderer gave {pixels.dtype} {pixels.shape}, not uint8 {(size, size, 3)}")
    if float(pixels.mean()) < _BLACK and int(pixels.max()) < 16:
        raise BadImage(f"{label}: the image is black")
    if float(pixels.std(axis=(0, 1)).max()) < _FLAT:
        raise BadImage(f"{label}: the image is flat (one colour)")


def resized(pixels: Pixels, size: int) -> Pixels:
    """The image at its stored side (px), antialiased; itself if it has that side already."""
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS))


def encode(pixels: Pixels, image_format: Literal["jpg", "webp"], quality: int) -> bytes:
    """JPEG or WebP bytes, the same for the same pixels and library versions."""
    out = io.BytesIO()
    if image_format == "jpg":
        # 4:4:4: small coloured things are what the data set is about.
        Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=0)
    else:
        Image.fromarray(pixels).save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()
