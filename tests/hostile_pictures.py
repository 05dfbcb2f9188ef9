"""Small images, and ones whose header says that they are large."""

from __future__ import annotations

import io
import struct

from PIL import Image

__all__ = ["claiming", "encoded"]


def encoded(kind: str = "PNG", side: tuple[int, int] = (16, 16)) -> bytes:
    """A red image of some hundred bytes."""
    out = io.BytesIO()
    Image.new("RGB", side, "red").save(out, kind)
    return out.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A JPEG of some hundred bytes whose header says that it is as large as that."""
    data = bytearray(encoded("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)
