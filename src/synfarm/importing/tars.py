"""Lists plain WebDataset tars: a sample is what has one name up to the first dot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

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
    too_large,
)
from synfarm.storage.tar_members import TarDamaged, tar_members

__all__ = ["list_tars"]

_CLS = ".cls"


@dataclass(slots=True)
class _Sample:
    images: list[tuple[str, Place]] = field(default_factory=list)
    labels: dict[str, str | None] = field(default_factory=dict)
    """By ending of the file that names it."""
    texts: dict[str, Place] = field(default_factory=dict)
    fault: str | None = None


def list_tars(tars: Sequence[Path], concepts: ConceptsFrom | None) -> Listing:
    """Every image of the tars, each a group of its own; those of one sample share class and text.

    Args:
        concepts: None: ``.cls`` where a sample has one, else its JSON, else no class.

    Raises:
        ImportRefused: two tars have one name, a tar is damaged or compressed, or the classes are to come of folders.
        OSError: one cannot be read.
    """
    if concepts is ConceptsFrom.FOLDER:
        raise ImportRefused("--concepts-from folder: tars have no class folders; say cls, json or none.")
    name, count = Counter(path.name for path in tars).most_common(1)[0]
    if count > 1:
        raise ImportRefused(f"TARS: {count} tars are called {printable(name)}; rename one, names tell images apart.")
    found = Listing()
    for tar in sorted(tars, key=lambda path: printable(path.name)):
        seen: set[str] = set()
        for sample in _samples(tar, concepts, found).values():
            _add(found, sample, concepts, seen)
    return found


def _add(found: Listing, sample: _Sample, concepts: ConceptsFrom | None, seen: set[str]) -> None:
    wanted = [_CLS, ".json"] if concepts is None else [] if concepts is ConceptsFrom.NONE else [f".{concepts.value}"]
    label = next((sample.labels[ending] for ending in wanted if sample.labels.get(ending)), None)
    text = next(((sample.texts[ending], ending) for ending in TEXTS if ending in sample.texts), None)
    for name, place in sample.images:
        if name in seen:
            found.left_out.append((name, "an earlier member of its tar has the same name"))
        elif sample.fault is not None:
            found.left_out.append((name, sample.fault))
        elif label is None and concepts in (ConceptsFrom.CLS, ConceptsFrom.JSON):
            found.left_out.append((name, f"has no class in a .{concepts.value}"))
        else:
            seen.add(name)
            found.items.append(Item(name, place, label, text))


def _samples(tar: Path, concepts: ConceptsFrom | None, found: Listing) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}

    def left_out(name: str, why: str) -> None:
        path = PurePosixPath(name)
        if path.suffix.lower() in SUFFIXES:
            found.left_out.append((f"{printable(tar.name)}/{printable(name)}", f"{why}, which is not read"))
        elif path.suffix.lower() in (_CLS, ".json") and concepts in (None, ConceptsFrom(path.suffix.lower()[1:])):
            samples.setdefault(_key(path), _Sample()).fault = f"its class in {printable(path.name)} {why}"

    try:
        with tar.open("rb") as file:
            for member in tar_members(file, left_out):
                path = PurePosixPath(member.name)
                if path.name.startswith("."):
                    continue
                sample = samples.setdefault(_key(path), _Sample())
                ending = path.suffix.lower()
                place = Place(tar, member.size, member.offset)
                if ending in SUFFIXES:
                    name = f"{printable(tar.name)}/{printable(member.name)}"
                    if (why := too_large(place)) is None:
                        sample.images.append((name, place))
                    else:
                        found.left_out.append((name, why))
                if ending in TEXTS:
                    sample.texts[ending] = place
                if ending in (_CLS, ".json") and concepts in (None, ConceptsFrom(ending[1:])):
                    try:
                        sample.labels[ending] = class_in(place.read_text(), ending)
                    except ValueError as error:
                        sample.fault = f"its class in {printable(path.name)} cannot be read: {error}"
    except TarDamaged as error:
        cure = "copy it again; a compressed one must be unpacked first"
        raise ImportRefused(f"TARS: {printable(tar)} is no tar, or cut off ({error}); {cure}.") from error
    return samples


def _key(path: PurePosixPath) -> str:
    return f"{path.parent}/{path.name.partition('.')[0]}"
