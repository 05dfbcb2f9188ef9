"""What there is to import: files, each with its class and its text, before any image is opened."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

__all__ = [
    "NOWHERE",
    "SUFFIXES",
    "TEXTS",
    "ConceptsFrom",
    "ImportRefused",
    "Item",
    "Listing",
    "Place",
    "caption_in",
    "class_in",
    "leads_out",
    "printable",
    "too_large",
]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
TEXTS = (".txt", ".json")
"""Endings of what may hold an image's caption, the first one first."""
NOWHERE = "is a link that leads nowhere"
_MOST_OF_IMAGE = 256 * 1024 * 1024
"""Bytes of an image's file: what 80 million pixels of PNG take at the most."""
_MOST_OF_TEXT = 1024 * 1024
"""Bytes of a file that names a class or holds a caption."""
_CLASS_FIELDS = ("label", "cls", "class", "concept")
_CAPTION_FIELDS = ("caption", "text")


class ConceptsFrom(StrEnum):
    """What names the class of an image."""

    FOLDER = "folder"
    CLS = "cls"
    JSON = "json"
    NONE = "none"


class ImportRefused(Exception):
    """Nothing is imported before something is corrected; the message says what and how."""


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of a file, or of a member of a tar."""

    path: Path
    size: int
    offset: int = 0

    def read(self) -> bytes:
        """
        Raises:
            OSError: the file cannot be read, or has become shorter.
        """
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) != self.size:
            raise OSError(0, "it has become shorter since it was listed", str(self.path))
        return data

    def read_text(self) -> bytes:
        """As :meth:`read`, of a file beside an image.

        Raises:
            ValueError: it is longer than any class or caption.
            OSError: as :meth:`read`.
        """
        if self.size > _MOST_OF_TEXT:
            raise ValueError(f"it has {self.size} bytes")
        return self.read()


def too_large(image: Place) -> str | None:
    """Why an image's file is not read; None: it is."""
    return f"has {image.size} bytes, at most {_MOST_OF_IMAGE} are read" if image.size > _MOST_OF_IMAGE else None


@dataclass(frozen=True, slots=True)
class Item:
    """One image to import."""

    name: str
    """Unique, relative to what is imported, in signs that can be printed: its place in the order follows from it."""
    place: Place
    concept: str | None
    text: tuple[Place, str] | None = None
    """Where its caption is, and the ending of that file."""

    @property
    def order(self) -> bytes:
        """Sorts by hash, so that every shard has images of many classes."""
        return hashlib.sha256(self.name.encode()).digest()


@dataclass(slots=True)
class Listing:
    """What was found, and what was left out: (name, why)."""

    items: list[Item] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def printable(name: str | Path) -> str:
    """A file's name as text that any store, terminal and JSON takes: what cannot be printed as ``\\xff`` or ``\\n``."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def leads_out(path: Path, whole: Path) -> str | None:
    """Why a file or a folder in ``whole``, a resolved path, is not to be read unless links are followed; None: it is.

    A stranger may have made the folder, and links in it to the machine's own files.
    """
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(whole):
            return "is a link that leads out of the folder; with --follow-links it is taken"
    except RuntimeError:  # it leads to itself
        return NOWHERE
    return None


def class_in(data: bytes, suffix: str) -> str | None:
    """The class that a ``.cls`` or a JSON object names.

    Raises:
        ValueError: it cannot be read.
    """
    if suffix == ".json":
        return _field(data, _CLASS_FIELDS, lambda value: isinstance(value, str | int))
    return data.decode().strip() or None


def caption_in(data: bytes, suffix: str) -> str | None:
    """The caption in a ``.txt`` or ``.json`` beside an image.

    Raises:
        ValueError: it cannot be read.
    """
    if suffix == ".json":
        return _field(data, _CAPTION_FIELDS, lambda value: isinstance(value, str))
    return data.decode().strip() or None


def _field(data: bytes, names: tuple[str, ...], fits: Callable[[object], bool]) -> str | None:
    try:
        told = json.loads(data.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(told, dict):
        raise ValueError("it is no JSON object")
    found = next((str(told[name]).strip() for name in names if fits(told.get(name))), "")
    found.encode()  # JSON can spell half of a surrogate pair, which is no text and cannot be stored
    return found or None
