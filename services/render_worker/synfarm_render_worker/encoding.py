"""Checks and encodes images, in threads beside the drawing of the next batch."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from synfarm.queue.unit import UnitFault
from synfarm_render_worker.renderer import Pixels

__all__ = ["BadImage", "check", "check_file", "encode", "resized"]

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
    counts = _histograms(pixels)
    values = np.arange(256.0)
    means = counts @ values / counts.sum(axis=1)
    if float(means.mean()) < _BLACK and int(np.flatnonzero(counts.any(axis=0))[-1]) < 16:
        raise BadImage(f"{label}: the image is black")
    variances = counts @ values**2 / counts.sum(axis=1) - means**2
    if float(variances.max()) < _FLAT**2:
        raise BadImage(f"{label}: the image is flat (one colour)")


def _histograms(pixels: Pixels) -> npt.NDArray[np.float64]:
    """3 x 256 counts. A 30th of the time that the deviation of the pixels takes, and the same numbers come of it."""
    return np.asarray(Image.fromarray(pixels).histogram(), np.float64).reshape(3, 256)


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


def check_file(data: bytes, size: int, image_format: Literal["jpg", "webp"], label: str) -> None:
    """Refuse a file that is not whole: each one is decoded once before it is stored.

    Raises:
        BadImage: it ends early, cannot be decoded, or has another side than ``size`` (px).
    """
    if image_format == "jpg":
        whole = data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9"
    else:
        whole = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 == len(data)
    if not whole:
        raise BadImage(f"{label}: the encoded image is truncated ({len(data)} bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            found = image.size
            # All of a JPEG's coefficients are read; at an eighth of the size little is computed from them.
            image.draft("L", (max(1, size // 8),) * 2)
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage(f"{label}: the encoded image cannot be decoded: {error}") from error
    if found != (size, size):
        raise BadImage(f"{label}: the encoded image has {found[0]} x {found[1]} px, not {size} x {size}")
