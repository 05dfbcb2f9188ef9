"""Images that claim to be larger than any job stores, or are something else: refused before memory is taken."""

from __future__ import annotations

import io
import struct
import tracemalloc

import pytest
from PIL import Image

from synfarm_trainer.data.decode import decode_image


def encoded(kind: str, side: tuple[int, int] = (16, 16)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", side, "red").save(out, kind)
    return out.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A JPEG of some hundred bytes whose header says that it is as large as that."""
    data = bytearray(encoded("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("side", [(65_535, 65_535), (2049, 2048), (12_000, 12_000)])
def test_a_header_that_claims_more_than_a_job_stores_costs_nothing(side: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="pixels"):
            decode_image(claiming(*side))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_that_is_true_is_refused_too() -> None:
    with pytest.raises(ValueError, match="pixels"):
        decode_image(encoded("WEBP", (4096, 2048)))


@pytest.mark.parametrize("kind", ["PNG", "EPS", "GIF", "TIFF", "PPM"])
def test_what_no_job_stores_is_not_opened(kind: str) -> None:
    with pytest.raises(OSError, match="cannot identify"):
        decode_image(encoded(kind))


def test_a_tar_with_the_first_bytes_of_a_jpeg_is_none() -> None:
    with pytest.raises((OSError, SyntaxError, ValueError)):
        decode_image(b"\xff\xd8" + b"\0" * 510 + b"ustar")


def test_the_largest_that_a_job_stores_decodes() -> None:
    assert decode_image(encoded("JPEG", (2048, 2048))).shape == (2048, 2048, 3)
