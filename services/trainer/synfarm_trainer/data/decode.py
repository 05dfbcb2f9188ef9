"""From a caption group in a shard to its decoded images, with damaged ones replaced by a fixed rule.

The rule: in a group whose checksum is wrong, image k that does not decode is replaced by the first of k+1, k+2, …
(cyclic, of the same group) that does. The checksum covers the group, so an image that decodes is taken as intact.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from synfarm.contracts.commits import GroupRow, SampleMeta
from synfarm_trainer.data.fetch import DatasetDamaged, Shard

__all__ = ["DecodedGroup", "decode_group", "decode_image", "read_caption"]

Pixels = NDArray[np.uint8]
_JPEG = b"\xff\xd8"
_FAST = find_spec("simplejpeg") is not None
_FORMATS = ("JPEG", "WEBP")
"""What a job stores. Pillow knows fifty more, and asks other programs about some (Ghostscript for EPS)."""
_MOST = 2048 * 2048
"""Pixels of an image: no job stores larger ones. A header of some bytes may claim four billion, and memory for what is
claimed is taken before the first pixel is read."""


@dataclass(frozen=True, slots=True)
class DecodedGroup:
    images: tuple[Pixels, ...]
    """(H, W, 3) RGB each, in the order that was asked for."""
    refilled: tuple[tuple[int, int], ...]
    """(image wanted, image taken) of each replacement."""


def _intact(shard: Shard, row: GroupRow) -> bool:
    piece = shard.data[row.offset : row.offset + row.length]
    return shard.intact or hashlib.sha256(piece).hexdigest() == row.sha256


def decode_image(data: bytes) -> Pixels:
    """(H, W, 3) RGB of a JPEG or WebP file; JPEGs by simplejpeg, whose bits are Pillow's at little more than half the
    cost. Inks, and what it refuses, are Pillow's to judge, so that no image depends on which of them is there.

    Raises:
        OSError, SyntaxError, ValueError: it does not decode, or is larger than any job stores.
    """
    if _FAST and data[:2] == _JPEG:
        import simplejpeg

        try:
            height, width, inks, _ = simplejpeg.decode_jpeg_header(data)
            if inks in ("YCbCr", "Gray") and height * width <= _MOST:
                pixels: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB")
                return pixels
        except ValueError:
            pass
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _MOST:
                raise ValueError(f"{image.width} x {image.height} pixels are more than any job stores")
            return np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(str(error)) from error


def decode_group(shard: Shard, row: GroupRow, wanted: Sequence[int]) -> DecodedGroup:
    """Images ``wanted`` (numbers within the group) of one group.

    Raises:
        DatasetDamaged: no image of a damaged group is left, or an intact group does not decode.
    """
    members = row.members[:-1]
    intact = _intact(shard, row)

    def attempt(number: int) -> Pixels | None:
        member = members[number]
        try:
            return decode_image(shard.data[member.offset : member.offset + member.length])
        except (OSError, SyntaxError, ValueError) as error:
            if intact:
                raise DatasetDamaged(
                    f"image {member.name} has its committed checksum but does not decode ({error}): the renderer wrote "
                    "a broken image; redo its unit"
                ) from error
            return None

    images: list[Pixels] = []
    refilled: list[tuple[int, int]] = []
    for number in wanted:
        for shift in range(len(members)):
            taken = (number + shift) % len(members)
            image = attempt(taken)
            if image is not None:
                break
        else:
            raise DatasetDamaged(
                f"every image of caption {row.caption_id} is damaged in {shard.ref.key}; restore the shard or start a "
                "run on another dataset"
            )
        if shift:
            refilled.append((number, taken))
        images.append(image)
    return DecodedGroup(tuple(images), tuple(refilled))


def read_caption(shard: Shard, row: GroupRow) -> str:
    """The text of a group's caption, from the sample's JSON. Nothing can stand in for it; what parses is intact.

    Raises:
        DatasetDamaged: it does not parse, or is another caption's.
    """
    member = row.members[-1]
    try:
        meta = SampleMeta.from_bytes(shard.data[member.offset : member.offset + member.length])
        wrong = "" if meta.caption_id == row.caption_id else f"it is that of {meta.caption_id}"
    except ValidationError as error:
        wrong = str(error)
    if wrong:
        cure = "the renderer wrote it so; redo its unit" if _intact(shard, row) else "restore the shard"
        raise DatasetDamaged(f"{member.name} in {shard.ref.key} is not the JSON of its caption: {cure} ({wrong})")
    return meta.caption
