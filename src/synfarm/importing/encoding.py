"""An image file as a job stores it: its own bytes where they serve, else encoded anew, once."""

from __future__ import annotations

import io
import struct
from typing import Literal

from PIL import Image, ImageOps

__all__ = ["BadFile", "stored"]

_PILLOW = {"jpg": "JPEG", "webp": "WEBP"}
_READ = ("JPEG", "PNG", "WEBP")
_ORIENTATION = 0x0112
_LEAST = 8
"""Pixels of the shorter side."""
_MOST = 80_000_000
"""Pixels of an image: about where Pillow itself warns of a header that lies."""
_MOST_A_PIXEL, _MOST_BESIDE = 6, 256 * 1024
"""Bytes of a file that is kept, twice what its pixels take at all: a shard of such files has a bound, too."""


class BadFile(Exception):
    """The file is no image that can be read; the message says why."""


def stored(data: bytes, image_format: Literal["jpg", "webp"], size: int, quality: int) -> bytes:
    """The file itself, if it is of the format, 8-bit gray or RGB, upright, one frame, whole, no side above ``size`` px.

    Others become upright RGB; what is see-through lies on white; a longer side is brought to ``size``.

    Raises:
        BadFile: it does not decode to its last byte, or is too small to be cut.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_READ) as image:
            shape = f"{image.width} x {image.height} pixels"
            if image.width * image.height > _MOST:
                raise BadFile(f"{shape} are too many; make it smaller")
            if min(image.size) < _LEAST:
                raise BadFile(f"{shape} are too few")
            image.load()
            if image.mode[0] in "IF":
                raise BadFile(f"its pixels have more than 8 bits (mode {image.mode}); convert it")
            if _serves(image, data, image_format, size):
                return data
            return _encoded(image, image_format, size, quality)
    except BadFile:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError, Warning) as error:
        raise BadFile(f"does not decode: {error}") from error


def _serves(image: Image.Image, data: bytes, image_format: str, size: int) -> bool:
    if image.format != _PILLOW[image_format] or image.mode not in ("RGB", "L") or max(image.size) > size:
        return False
    if len(data) > _MOST_A_PIXEL * image.width * image.height + _MOST_BESIDE:
        return False
    if image_format == "jpg":
        whole = data.endswith(b"\xff\xd9")
    else:
        whole = int.from_bytes(data[4:8], "little") + 8 == len(data)
    return whole and image.getexif().get(_ORIENTATION, 1) == 1 and getattr(image, "n_frames", 1) == 1


def _encoded(image: Image.Image, image_format: str, size: int, quality: int) -> bytes:
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    upright = upright.convert("RGB")
    longest = max(upright.size)
    if longest > size:
        sides = tuple(max(1, round(side * size / longest)) for side in upright.size)
        upright = upright.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
    # Nothing of the file but its pixels: no profile, no place, no maker.
    upright.info = {}
    out = io.BytesIO()
    if image_format == "jpg":
        upright.save(out, "JPEG", quality=quality, subsampling=0)
    else:
        upright.save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()
