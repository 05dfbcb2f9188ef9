"""PASCAL VOC 2007's classification task from its devkit: 20 classes, several of which an image may show.

Labels are 1 where the class is shown, -1 where it is not, and 0 where what shows it is "difficult". As in the release
of SynCLR, only 1 counts as shown: 0 is a negative there, while VOC's own devkit leaves such images out of a class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synfarm_trainer.evals.sets.gathering import plain_bytes, read_image
from synfarm_trainer.evals.sets.labelled import LabelledSet, SetInvalid, Split

__all__ = ["is_voc", "open_voc"]

_SPLITS = ("train", "val", "test")
_MOST_OF_LIST = 64 * 1024 * 1024
"""Bytes of a list of images; the longest of the set has some 80,000."""


def _inner(place: Path) -> Path:
    for folder in (place, place / "VOC2007", place / "VOCdevkit" / "VOC2007"):
        if (folder / "ImageSets" / "Main").is_dir():
            return folder
    return place


def is_voc(place: Path) -> bool:
    """Whether it holds ``ImageSets/Main``, itself or below ``VOCdevkit/VOC2007``."""
    return (_inner(place) / "ImageSets" / "Main").is_dir()


def open_voc(place: Path) -> LabelledSet:
    """
    Raises:
        SetInvalid: lists of a split or a class are missing, or do not fit together.
    """
    root = _inner(place)
    lists = root / "ImageSets" / "Main"
    classes = sorted(path.name.removesuffix("_train.txt") for path in lists.glob("*_train.txt"))
    missing = [f"{name}_{split}.txt" for name in classes for split in _SPLITS if not _list(root, name, split).is_file()]
    if not classes or missing:
        cure = "unpack VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar into one folder"
        raise SetInvalid(f"{lists}: {missing[0] if missing else '<class>_train.txt'} is missing; {cure}")
    return LabelledSet(tuple(classes), {split: _split(root, classes, split) for split in _SPLITS})


def _list(root: Path, name: str, split: str) -> Path:
    return root / "ImageSets" / "Main" / f"{name}_{split}.txt"


def _split(root: Path, classes: list[str], split: str) -> Split:
    columns: list[dict[str, int]] = []
    for name in classes:
        try:
            text = plain_bytes(_list(root, name, split), _MOST_OF_LIST).decode()
        except (OSError, ValueError) as error:
            raise SetInvalid(f"{_list(root, name, split)}: cannot be read ({error}); unpack the set again") from error
        words = [line.split() for line in text.splitlines() if line.strip()]
        if not all(len(line) == 2 and line[1] in {"-1", "0", "1"} and "/" not in line[0] for line in words):
            raise SetInvalid(f"{_list(root, name, split)}: a line is no image with -1, 0 or 1; unpack the set again")
        columns.append({image: int(label) for image, label in words})
    names = list(columns[0])
    if any(set(column) != set(names) for column in columns):
        raise SetInvalid(f"{root}: the lists of {split} name other images for other classes; unpack the set again")
    labels = np.array([[column[name] for column in columns] for name in names], dtype=np.int64)
    paths = [root / "JPEGImages" / f"{name}.jpg" for name in names]
    return Split(labels, lambda row: read_image(paths[row], str(paths[row])))
