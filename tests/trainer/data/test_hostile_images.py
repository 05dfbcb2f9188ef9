"""Images that claim to be larger than any job stores, or are something else: refused before memory is taken."""

from __future__ import annotations

import tracemalloc

import pytest
from tests.hostile_pictures import claiming, encoded

from synfarm_trainer.data.decode import decode_image


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
