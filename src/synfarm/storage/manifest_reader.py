"""A job's end record and manifest, with every hash proven: what runs, exports and verifications trust."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.manifests import Ended, ManifestLine, ManifestPart, manifest_hash, read_part
from synfarm.storage.columns_file import recall_columns
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["ManifestDamaged", "open_hash", "part_lines", "proven_lines", "read_ended", "read_open_parts"]


class ManifestDamaged(Exception):
    """The end record or a manifest part is not what was written; the message names the key."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"{key}: {what}")
        self.key, self.what = key, what


def read_ended(store: ObjectStore, key: str) -> Ended:
    """An end record whose parts have the hash that it names.

    Raises:
        ManifestDamaged: it is not there, cannot be read, or its parts are not those of its hash.
    """
    try:
        ended = Ended.from_bytes(store.get(key))
    except ObjectMissing as error:
        raise ManifestDamaged(key, "the end record is gone") from error
    except ValidationError as error:
        raise ManifestDamaged(key, f"not an end record: {_first(error)}") from error
    if manifest_hash(ended.parts) != ended.manifest_sha256:
        raise ManifestDamaged(key, "its parts are not those that its manifest_sha256 was made of")
    return ended


def part_lines(store: ObjectStore, part: ManifestPart) -> list[ManifestLine]:
    """The lines of a part, which is the one that the end record names.

    Raises:
        ManifestDamaged: it is gone, has other bytes, or does not hold what the end record says of it.
    """
    try:
        data = store.get(part.key)
    except ObjectMissing as error:
        raise ManifestDamaged(part.key, "the manifest part is gone") from error
    found = hashlib.sha256(data).hexdigest()
    if found != part.sha256:
        raise ManifestDamaged(part.key, f"its sha256 is {found[:12]}…, the end record names {part.sha256[:12]}…")
    try:
        lines = read_part(data)
    except ValidationError as error:
        raise ManifestDamaged(part.key, f"a line cannot be read: {_first(error)}") from error
    units, groups = len(lines), sum(line.groups for line in lines)
    if (units, groups) != (part.units, part.groups):
        told = f"{part.units} units with {part.groups} captions"
        raise ManifestDamaged(part.key, f"it holds {units} units with {groups} captions, the end record says {told}")
    return lines


def read_open_parts(store: ObjectStore, job: str, generation: int, *, first: int = 0) -> list[ManifestPart]:
    """The parts from number ``first`` on of a generation that has not ended: a part is whole because it is there.

    Its columns follow a moment later: a part that is met before them is told without.

    Raises:
        ManifestDamaged: one cannot be read.
    """
    found: list[ManifestPart] = []
    while True:
        key = layout.manifest_part(job, generation, first + len(found))
        try:
            data = store.get(key)
        except ObjectMissing:
            return found
        try:
            lines = read_part(data)
        except ValidationError as error:
            raise ManifestDamaged(key, f"a line cannot be read: {_first(error)}") from error
        columns = recall_columns(store, layout.manifest_columns(job, generation, first + len(found)))
        groups, sha256 = sum(line.groups for line in lines), hashlib.sha256(data).hexdigest()
        found.append(ManifestPart(key=key, sha256=sha256, units=len(lines), groups=groups, columns=columns))


def open_hash(parts: Iterable[ManifestPart]) -> str:
    """The hash of parts without their columns, which some readers meet and others do not yet."""
    return manifest_hash(part.model_copy(update={"columns": None}) for part in parts)


def proven_lines(store: ObjectStore, ended: Ended) -> Iterator[ManifestLine]:
    """Every line of a manifest in its order, one part in memory at a time.

    Raises:
        ManifestDamaged: as :func:`part_lines`.
    """
    for part in ended.parts:
        yield from part_lines(store, part)


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"
