"""Lists a folder for each class, ``<class>/<image>``, or any folder of images without classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from synfarm.importing.listing import (
    SUFFIXES,
    TEXTS,
    ConceptsFrom,
    ImportRefused,
    Item,
    Listing,
    Place,
    class_in,
    printable,
)

__all__ = ["list_folder"]

_SPLITS = {"train", "training", "val", "valid", "validation", "test"}


def list_folder(root: Path, concepts: ConceptsFrom) -> Listing:
    """Every image below ``root``; names that begin with a dot are passed over.

    Raises:
        ImportRefused: it is divided into train and val, or has no class folders where they are asked for.
        OSError: it cannot be read.
    """
    found = Listing()
    below = sorted((path for path in root.iterdir() if not path.name.startswith(".")), key=printable)
    folders = [path for path in below if path.is_dir()]
    if concepts is ConceptsFrom.FOLDER:
        if folders and {path.name.casefold() for path in folders} <= _SPLITS:
            one = folders[-1].name if "train" not in {path.name for path in folders} else "train"
            told = f"{printable(root)} is divided into {', '.join(path.name for path in folders)}"
            raise ImportRefused(f"FOLDER: {told}; import one of them: {printable(root / one)}.")
        if not folders:
            cure = "put each class into a folder of its own, or say --concepts-from none"
            raise ImportRefused(f"FOLDER: {printable(root)} has no class folders; {cure}.")
        for path in below:
            if path.suffix.lower() in SUFFIXES and path.is_file():
                found.left_out.append((printable(path.name), "lies in no class folder"))
        for folder in folders:
            before = len(found.items)
            _add(found, root, folder, concepts, printable(folder.name))
            if len(found.items) == before:
                found.notes.append(f"class {printable(folder.name)!r} has no image; it is left out")
    else:
        _add(found, root, root, concepts, None)
    return found


def _add(found: Listing, root: Path, folder: Path, concepts: ConceptsFrom, concept: str | None) -> None:
    for path, beside in _images(folder):
        name = printable(path.relative_to(root))
        label = concept
        if concepts in (ConceptsFrom.CLS, ConceptsFrom.JSON):
            try:
                label = _label(path, beside, concepts)
            except ValueError as error:
                found.left_out.append((name, f"its class cannot be read: {error}"))
                continue
            if label is None:
                found.left_out.append((name, f"has no class in a .{concepts.value}"))
                continue
        text = next((path.with_suffix(suffix) for suffix in TEXTS if path.stem + suffix in beside), None)
        place = Place(path, path.stat().st_size)
        found.items.append(
            Item(name, place, label, None if text is None else (Place(text, text.stat().st_size), text.suffix))
        )


def _label(path: Path, beside: set[str], concepts: ConceptsFrom) -> str | None:
    suffix = f".{concepts.value}"
    if path.stem + suffix not in beside:
        return None
    data = path.with_suffix(suffix).read_bytes()
    return class_in(data) if concepts is ConceptsFrom.JSON else data.decode().strip() or None


def _images(folder: Path) -> Iterator[tuple[Path, set[str]]]:
    """Images with the names of all files beside them, in order of names."""

    def fail(error: OSError) -> None:
        raise error

    for at, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=printable)
        beside = set(names)
        for name in sorted(names, key=printable):
            path = Path(at, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                yield path, beside
