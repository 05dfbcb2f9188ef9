"""A folder for each class, as torchvision's ImageFolder has it; below ``train``, ``val`` and ``test``, or undivided."""

from __future__ import annotations

from pathlib import Path

from synfarm_trainer.evals.sets.gathering import SUFFIXES, gathered, read_image, split_name
from synfarm_trainer.evals.sets.labelled import ALL, LabelledSet, SetInvalid

__all__ = ["open_class_folders"]


def open_class_folders(root: Path) -> LabelledSet:
    """
    Raises:
        SetInvalid: there are none.
    """
    below = _folders(root)
    named = {name: folder for folder in below if (name := split_name(folder.name)) is not None}
    undivided = {folder.name: folder for folder in below} if not named else {}
    found = {name: _of_split(folder) for name, folder in named.items()} or {ALL: _of_classes(list(undivided.values()))}
    return gathered(root, found, lambda path: read_image(path, str(path)))


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise SetInvalid(f"{root}: {error.strerror}") from error


def _of_split(folder: Path) -> list[tuple[Path, str]]:
    return _of_classes(_folders(folder))


def _of_classes(folders: list[Path]) -> list[tuple[Path, str]]:
    return [
        (path, folder.name)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
