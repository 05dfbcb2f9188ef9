"""One job as the store has it: its plan, where it stands, and its manifest read with every hash proven."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.generations import planned_by
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Ended, ManifestLine, ManifestPart, manifest_hash, read_part
from synfarm.queue.specs import read_openings
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = [
    "JobRecord",
    "ManifestDamaged",
    "NoSuchJob",
    "newest_job",
    "part_lines",
    "proven_lines",
    "read_ended",
    "read_job",
]


class NoSuchJob(Exception):
    """There is no such job, or it is being deleted; the message says which."""


class ManifestDamaged(Exception):
    """The end record or a manifest part is not what was written; the message names the key."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"{key}: {what}")
        self.key, self.what = key, what


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What holds for the whole job at one moment."""

    spec: JobSpec
    """With its openings."""
    generation: int
    """The one that the job works on, or has ended last."""
    ended_keys: tuple[str, ...]
    """End records of all generations, in order."""
    has_ended: bool
    """The generation has its end record, and no feeder is told to work on the job."""

    def ended(self, store: ObjectStore) -> Ended | None:
        """The end record of the generation, if it has one.

        Raises:
            ManifestDamaged: it cannot be read.
        """
        key = layout.ended(self.spec.job, self.generation)
        return read_ended(store, key) if key in self.ended_keys else None


def read_job(store: ObjectStore, job: str) -> JobRecord:
    """The job now.

    Raises:
        NoSuchJob: there is none, or it is being deleted.
        ManifestDamaged: its spec or an opening cannot be read.
    """
    if store.head(layout.tombstone(job)) is not None:
        raise NoSuchJob(f"job {job} was deleted.")
    # In this order: a job that is opened meanwhile is then seen as one that runs.
    active = store.head(layout.active(job)) is not None
    ended_keys = tuple(info.key for info in store.list(layout.ended_prefix(job)))
    try:
        frozen = JobSpec.from_bytes(store.get(layout.job(job)))
        openings = read_openings(store, job)
    except ObjectMissing:
        raise NoSuchJob(f"there is no job {job} in this store.") from None
    except ValidationError as error:
        raise ManifestDamaged(layout.job_prefix(job), f"its spec cannot be read: {error}") from error
    generation = max((opening.generation for opening in openings), default=1)
    finished = layout.ended(job, generation) in ended_keys
    return JobRecord(planned_by(frozen, openings), generation, ended_keys, finished and not active)


def newest_job(store: ObjectStore) -> str | None:
    """The job that was made last: ids begin with their time."""
    for name in sorted(store.list_folders(layout.jobs_prefix()), reverse=True):
        try:
            if store.head(layout.job(name)) is not None and store.head(layout.tombstone(name)) is None:
                return name
        except ValueError:
            continue
    return None


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
