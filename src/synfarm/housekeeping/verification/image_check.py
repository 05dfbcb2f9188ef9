"""Does an image decode to its last byte, and is it of the format and size that its job says?"""

from __future__ import annotations

import io
import struct

from PIL import Image

__all__ = ["image_fault"]

_PILLOW = {"jpg": "JPEG", "webp": "WEBP"}
_JPEG_END = b"\xff\xd9"
_RIFF = 8
"""Bytes of a WebP before those that its header counts."""


def image_fault(data: bytes, image_format: str, size: int, *, square: bool = True) -> str | None:
    """What is wrong with an encoded image, in words; None: nothing.

    Args:
        image_format: ``jpg`` or ``webp``.
        size: side in pixels of the square that it must be.
        square: False: of any shape, no side longer than ``size``.
    """
    if (more := _not_one_file(data, image_format)) is not None:
        return more
    try:
        # Only this decoder: a PNG under the name .jpg is no JPEG, and Pillow would open it.
        with Image.open(io.BytesIO(data), formats=(_PILLOW[image_format],)) as image:
            if not square and max(image.size) > size:
                return f"{image.width} x {image.height} pixels; no side may be longer than {size}"
            if square and image.size != (size, size):
                return f"{image.width} x {image.height} pixels in place of {size} x {size}"
            image.load()
    # A header may claim so many pixels that Pillow warns; where warnings are errors, that too is an image's fault.
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError, Warning) as error:
        return f"does not decode: {error}"
    return None


def _not_one_file(data: bytes, image_format: str) -> str | None:
    """Pillow refuses what is cut, and never looks at what stands behind an image: that is looked at here."""
    if image_format == "jpg" and not data.endswith(_JPEG_END):
        return "does not end as a JPEG does"
    if image_format == "webp" and data[:4] == b"RIFF":
        told = int.from_bytes(data[4:_RIFF], "little") + _RIFF
        if told != len(data):
            return f"{len(data)} bytes in place of the {told} of its header"
    return None
