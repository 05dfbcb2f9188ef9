"""Images as data URIs: small ones byte for byte as they are stored, large ones shrunk, anything else refused."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

__all__ = ["Picture", "Unreadable", "embed"]

_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
"""No SVG: it could hold scripts and links."""
_MOST_PIXELS = 64_000_000


class Unreadable(ValueError):
    """These bytes are no image that a report may hold; the message says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image inside the page."""

    uri: str
    width: int
    height: int


def embed(data: bytes, *, side: int, limit: int) -> Picture:
    """The image as a data URI of at most ``side`` pixels each way, and ``limit`` bytes if it is kept as it is.

    Raises:
        Unreadable: not a JPEG, PNG or WebP file, broken, or too large to open safely.
    """
    try:
        with Image.open(io.BytesIO(data), formats=tuple(_TYPES)) as image:
            stored, kind = image.size, _TYPES[str(image.format)]
            if stored[0] * stored[1] > _MOST_PIXELS:
                raise Unreadable(f"an image of {stored[0]} × {stored[1]} pixels is too large for a report")
            if max(stored) <= side and len(data) <= limit:
                image.load()  # the header alone may be whole
                return Picture(_uri(kind, data), *stored)
            image.draft(None, (side, side))  # a JPEG is then read at a fraction of its size
            shrunk = image.convert("RGBA" if image.has_transparency_data else "RGB")
            shrunk.thumbnail((side, side), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"not a whole JPEG, PNG or WebP image ({error})") from error
    out = io.BytesIO()
    shrunk.save(out, "WEBP", quality=85, method=4)
    return Picture(_uri("image/webp", out.getvalue()), *shrunk.size)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
