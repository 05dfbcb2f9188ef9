"""Lists a folder for each class, ``<class>/<image>``, or any folder of images without classes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from synfarm.importing.listing import (
    NOWHERE,
    SUFFIXES,
    TEXTS,
    ConceptsFrom,
    ImportRefused,
    Item,
    Listing,
    Place,
    class_in,
    leads_out,
    printable,
    too_large,
)

__all__ = ["list_folder"]

_NOWHERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_SPLITS = {"train", "training", "val", "valid", "validation", "test"}


def list_folder(root: Path, concepts: ConceptsFrom, *, follow_links: bool = False) -> Listing:
    """Every image below ``root``; names that begin with a dot are passed over.

    Args:
        follow_links: also those that lead out of ``root``; those that stay in it are always followed.

    Raises:
        ImportRefused: it is divided into train and val, or has no class folders where they are asked for.
        OSError: it cannot be read.
    """
    lister = _Lister(root, concepts, follow_links)
    found = lister.found
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
            if (why := lister.astray(folder)) is not None:
                found.left_out.append((printable(folder.name), why))
                continue
            before = len(found.items)
            lister.add(folder, printable(folder.name))
            if len(found.items) == before:
                found.notes.append(f"class {printable(folder.name)!r} has no image; it is left out")
    else:
        lister.add(root, None)
    return found


class _Lister:
    def __init__(self, root: Path, concepts: ConceptsFrom, follow_links: bool) -> None:
        self._root, self._whole = root, root.resolve()
        self._concepts, self._follow = concepts, follow_links
        self.found = Listing()

    def astray(self, path: Path) -> str | None:
        """Why a file or a folder is not to be read; None: it is."""
        return None if self._follow else leads_out(path, self._whole)

    def add(self, folder: Path, concept: str | None) -> None:
        """Images of a folder, each of this class unless it is to be looked for elsewhere."""
        found = self.found
        for path, beside in _images(folder):
            name = printable(path.relative_to(self._root))
            why = self.astray(path)
            place = Place(path, path.stat().st_size)
            if (why := why or too_large(place)) is not None:
                found.left_out.append((name, why))
                continue
            label = concept
            if self._concepts in (ConceptsFrom.CLS, ConceptsFrom.JSON):
                suffix = f".{self._concepts.value}"
                try:
                    label = None
                    if path.stem + suffix in beside:
                        label = class_in(self._beside(path.with_suffix(suffix)).read_text(), suffix)
                except ValueError as error:
                    found.left_out.append((name, f"its class cannot be read: {error}"))
                    continue
                if label is None:
                    found.left_out.append((name, f"has no class in a {suffix}"))
                    continue
            found.items.append(Item(name, place, label, self._text(path, beside)))

    def _text(self, path: Path, beside: set[str]) -> tuple[Place, str] | None:
        """Where the caption of an image is, and the ending of that file."""
        for suffix in TEXTS:
            if path.stem + suffix in beside:
                text = path.with_suffix(suffix)
                try:
                    return self._beside(text), suffix
                except ValueError as error:
                    name = printable(text.relative_to(self._root))
                    self.found.left_out.append((name, f"{error}; the image's class stands in"))
                    return None
        return None

    def _beside(self, path: Path) -> Place:
        """A file beside an image.

        Raises:
            ValueError: it must not be read.
        """
        if (why := self.astray(path)) is not None:
            raise ValueError(why)
        try:
            status = path.stat()
        except OSError as error:
            if error.errno not in _NOWHERE:
                raise
            raise ValueError(NOWHERE) from None
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is no plain file")  # to open a pipe is to wait for whoever writes to it
        return Place(path, status.st_size)


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
