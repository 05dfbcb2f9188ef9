"""From files to the plan of a job: duplicates left out, classes checked, order and units settled."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synfarm.contracts.concepts import Concept, is_phrase
from synfarm.contracts.imports import ImportRef
from synfarm.importing.folders import list_folder
from synfarm.importing.listing import ConceptsFrom, ImportRefused, Item, Listing, leads_out, printable
from synfarm.importing.tars import list_tars

__all__ = ["ImportPlan", "plan_import"]

_SHARD_BYTES = 64_000_000
_MOST_CLASSES = 50_000


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What will be imported, in the order of the job's captions."""

    items: tuple[Item, ...]
    concepts: tuple[Concept, ...]
    source: ImportRef
    per_unit: int
    left_out: tuple[tuple[str, str], ...]
    """(name, why)"""
    notes: tuple[str, ...]


def plan_import(
    paths: list[Path],
    *,
    concepts_from: ConceptsFrom | None = None,
    per_unit: int | None = None,
    follow_links: bool = False,
) -> ImportPlan:
    """Lists what is to be imported; reads images of equal size alone, to find those with the same bytes.

    Args:
        paths: one folder, or tars. A folder whose only files are tars stands for them.
        concepts_from: None: folders' names, and what tars have beside their images.
        per_unit: images a shard; None: by their mean size, so that a shard has about 64 MB.
        follow_links: also those that lead out of the folder: whoever made it may have meant a secret of this machine.

    Raises:
        ImportRefused: there is nothing to import, or a name must be corrected.
        OSError: a file cannot be read.
    """
    kind, listing = _listed(paths, concepts_from, follow_links)
    if not listing.items:
        told = [*listing.notes, *(f"{name} {why}" for name, why in listing.left_out[:3])]
        why = f" ({'; '.join(told)})" if told else ""
        raise ImportRefused(f"{printable(paths[0])} has no .jpg, .png or .webp to import{why}; name another place.")
    items = _without_duplicates(listing)
    concepts = _concepts(items)
    items.sort(key=lambda item: item.order)
    digest = hashlib.sha256()
    for item in items:
        text = "" if item.text is None else item.text[0].size
        digest.update(repr((item.name, item.place.size, item.concept, text)).encode())
    where = printable(paths[0].resolve().name)[:150]
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    mean = sum(item.place.size for item in items) / len(items)
    return ImportPlan(
        items=tuple(items),
        concepts=concepts,
        source=ImportRef(kind=kind, where=(where or "/") + more, sha256=digest.hexdigest(), files=len(items)),
        per_unit=per_unit or max(8, min(1024, round(_SHARD_BYTES / max(mean, 1)))),
        left_out=tuple(listing.left_out),
        notes=tuple(listing.notes),
    )


def _listed(
    paths: list[Path], concepts: ConceptsFrom | None, follow_links: bool
) -> tuple[Literal["folder", "tars"], Listing]:
    for path in paths:
        if not (path.is_dir() or path.is_file()):  # a pipe would be waited for
            what = "is neither a folder nor a file" if path.exists() else "does not exist"
            raise ImportRefused(f"{printable(path)} {what}; name a folder of images, or .tar files.")
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        return "tars", list_tars(paths, concepts)
    if len(paths) > 1:
        raise ImportRefused(f"{printable(folders[0])}: name one folder, or tars alone.")
    below = [path for path in folders[0].iterdir() if not path.name.startswith(".")]
    tars = [path for path in below if path.suffix == ".tar" and path.is_file()]
    if tars and not any(path.is_dir() for path in below):
        astray = {} if follow_links else {path: leads_out(path, folders[0].resolve()) for path in tars}
        there = [path for path in tars if astray.get(path) is None]
        listing = list_tars(there, concepts) if there else Listing()
        listing.left_out += [(printable(path.name), why) for path, why in astray.items() if why is not None]
        return "tars", listing
    return "folder", list_folder(folders[0], concepts or ConceptsFrom.FOLDER, follow_links=follow_links)


def _without_duplicates(listing: Listing) -> list[Item]:
    """The first by name of those that have the same bytes."""
    by_size: dict[int, list[Item]] = defaultdict(list)
    for item in sorted(listing.items, key=lambda item: item.name):
        by_size[item.place.size].append(item)
    kept: list[Item] = []
    for alike in by_size.values():
        first: dict[bytes, Item] = {}
        for item in alike:
            digest = hashlib.sha256(item.place.read()).digest() if len(alike) > 1 else b""
            known = first.setdefault(digest, item)
            if known is item:
                kept.append(item)
            else:
                other = f" of class {known.concept!r}" if known.concept != item.concept else ""
                listing.left_out.append((item.name, f"has the bytes of {known.name}{other}"))
    return kept


def _concepts(items: list[Item]) -> tuple[Concept, ...]:
    names = Counter(item.concept for item in items if item.concept is not None)
    if len(names) > _MOST_CLASSES:
        raise ImportRefused(f"--concepts-from: {len(names)} classes, at most {_MOST_CLASSES} are taken; or say none.")
    folded: dict[str, str] = {}
    for name in sorted(names):
        if not is_phrase(name):
            cure = "1 to 80 signs, no control characters, no '=>', no two spaces in a row; rename it"
            raise ImportRefused(f"class {name[:90]!r} cannot be the name of a concept: {cure}.")
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise ImportRefused(f"classes {other!r} and {name!r} differ in case alone; rename one, or join them.")
    return tuple(Concept(name=name) for name in sorted(names))
