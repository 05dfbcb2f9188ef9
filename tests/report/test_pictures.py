"""Images inside the page: as they are stored when small, shrunk when large, refused when they are none."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from synfarm.report.pictures import Picture, Unreadable, embed


def encoded(size: tuple[int, int], kind: str, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, (10, 20, 30, 128)[: len(mode)]).save(out, kind)
    return out.getvalue()


def content(picture: Picture) -> bytes:
    return base64.b64decode(picture.uri.partition(",")[2])


@pytest.mark.parametrize(("kind", "type_"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_a_small_image_is_embedded_byte_for_byte(kind: str, type_: str) -> None:
    data = encoded((64, 48), kind)
    picture = embed(data, side=160, limit=24_000)
    assert picture.uri.startswith(f"data:{type_};base64,")
    assert content(picture) == data
    assert (picture.width, picture.height) == (64, 48)


def test_a_large_image_is_shrunk_in_proportion() -> None:
    picture = embed(encoded((1024, 512), "PNG"), side=160, limit=24_000)
    with Image.open(io.BytesIO(content(picture))) as image:
        assert image.size == (160, 80) == (picture.width, picture.height)


def test_too_many_bytes_are_shrunk_too() -> None:
    out = io.BytesIO()
    Image.effect_noise((160, 160), 90).convert("RGB").save(out, "PNG")
    picture = embed(out.getvalue(), side=160, limit=24_000)
    assert len(content(picture)) < len(out.getvalue()) / 2


def test_gaps_of_a_sheet_stay_transparent() -> None:
    picture = embed(encoded((400, 400), "PNG", "RGBA"), side=160, limit=1)
    with Image.open(io.BytesIO(content(picture))) as image:
        assert image.mode == "RGBA"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!DOCTYPE html>",
        encoded((8, 8), "GIF"),
        encoded((400, 400), "PNG")[:200],
        encoded((64, 64), "JPEG")[:-40],
        encoded((9000, 9000), "PNG"),
    ],
    ids=["nothing", "svg", "html", "gif", "cut off", "small and cut off", "huge"],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        embed(data, side=160, limit=24_000)
