"""WebDataset tars: ``train-*.tar`` and ``test-*.tar`` (or folders of these names), or tars that are not divided.

A sample is what has one name up to the first dot: an image beside its class in ``.cls``, or in ``label``,
``cls`` or ``concept`` of a ``.json``. Several images of a sample, as the farm's own tars have them, share its class.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image

from synfarm.storage.tar_members import TarDamaged, tar_members
from synfarm_trainer.evals.sets.gathering import MOST_OF_IMAGE, SUFFIXES, gathered, read_image, split_name
from synfarm_trainer.evals.sets.labelled import ALL, LabelledSet, SetInvalid

__all__ = ["open_tars", "tars_of"]

_CLASS = ".cls"
_FIELDS = ("label", "cls", "concept")
_MOST_OF_LABEL = 1024 * 1024
"""Bytes of a file that names a class."""


@dataclass(frozen=True, slots=True)
class _Place:
    tar: Path
    name: str
    offset: int
    size: int


@dataclass(slots=True)
class _Sample:
    images: list[_Place] = field(default_factory=list)
    label: str | None = None


def tars_of(root: Path) -> dict[str, list[Path]]:
    """The tars of each split."""
    found: dict[str, list[Path]] = {}
    for path in sorted([*root.glob("*.tar"), *root.glob("*/*.tar")]):
        word = path.parent.name if path.parent != root else path.name.partition(".")[0].rstrip("0123456789-_")
        found.setdefault(split_name(word) or ALL, []).append(path)
    if len(found) > 1:
        found.pop(ALL, None)  # Beside splits that are named nothing else is meant.
    return found


def open_tars(root: Path) -> LabelledSet:
    """Reads the tars once, for what lies where; images are read when they are asked for.

    Raises:
        SetInvalid: a tar is damaged, or an image has no class.
    """
    found = {split: [item for tar in tars for item in _items(tar)] for split, tars in tars_of(root).items()}
    return gathered(root, found, _read)


def _read(place: _Place) -> Image.Image:
    with place.tar.open("rb") as file:
        file.seek(place.offset)
        return read_image(file.read(place.size), f"{place.name} of {place.tar}")


def _items(tar: Path) -> Iterator[tuple[_Place, str]]:
    samples: dict[str, _Sample] = {}

    def refuse(name: str, why: str) -> None:
        if PurePosixPath(name).suffix.lower() in (*SUFFIXES, _CLASS, ".json"):
            raise SetInvalid(f"{tar}: {name!r} {why}; write the tar with the files themselves")

    if not tar.is_file():
        raise SetInvalid(f"{tar}: is no plain file; copy the tar itself to there")
    try:
        with tar.open("rb") as file:
            for member in tar_members(file, refuse):
                path = PurePosixPath(member.name)
                if path.name.startswith("."):
                    continue
                sample = samples.setdefault(f"{path.parent}/{path.name.partition('.')[0]}", _Sample())
                is_image = path.suffix.lower() in SUFFIXES
                if not is_image and path.suffix.lower() not in (_CLASS, ".json"):
                    continue
                if member.size > (MOST_OF_IMAGE if is_image else _MOST_OF_LABEL):
                    raise SetInvalid(f"{tar}: {member.name!r} has {member.size} bytes, which is too much; replace it")
                if is_image:
                    sample.images.append(_Place(tar, member.name, member.offset, member.size))
                else:
                    file.seek(member.offset)
                    sample.label = _label(file.read(member.size), path, tar) or sample.label
    except TarDamaged as error:
        raise SetInvalid(f"{tar}: is no tar, or cut off ({error}); copy it again") from error
    for name, sample in samples.items():
        if sample.images and sample.label is None:
            raise SetInvalid(f"{tar}: {name} has no class; put it into {name}.cls")
        for place in sample.images:
            yield place, str(sample.label)


def _label(data: bytes, path: PurePosixPath, tar: Path) -> str | None:
    try:
        text = data.decode()
        if path.suffix.lower() != ".json":
            return text.strip() or None
        told = json.loads(text)
        return next((str(told[name]) for name in _FIELDS if name in told), None)
    except (ValueError, TypeError, RecursionError) as error:
        raise SetInvalid(f"{tar}: {path} cannot be read ({error}); correct it") from error
