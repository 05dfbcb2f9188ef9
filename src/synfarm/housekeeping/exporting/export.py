"""Copies the shards of a job to where other tools read them, and can be killed and begun again at any moment."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit
from synfarm.contracts.housekeeping import ExportedTar, ExportIndex
from synfarm.contracts.manifests import Ended, ManifestLine
from synfarm.housekeeping.exporting.card import card_text
from synfarm.housekeeping.exporting.destination import Destination, ExportRefused
from synfarm.housekeeping.exporting.tars import Bundle, bundles, prove, write
from synfarm.housekeeping.job_record import JobRecord, read_job
from synfarm.storage.manifest_reader import ManifestDamaged, proven_lines
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged

__all__ = ["INDEX", "ExportFailed", "Exported", "Moved", "export"]

INDEX, CARD, MARKER = "index.json", "README.md", ".synfarm-export.json"
_MOST_TARS = 10**6
"""Six digits; a name of another width would not expand with the others."""


class ExportFailed(Exception):
    """The job's own objects are damaged; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How far an export has come."""

    tars: int
    images: int
    of_images: int | None
    """None: nobody knows yet."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished export."""

    index: ExportIndex
    proven: int
    """Tars that were there already, and were proven and left as they are."""


def export(
    store: ObjectStore,
    job: str,
    destination: Destination,
    *,
    shard_bytes: int | None = None,
    partial: bool = False,
    threads: int = 4,
    progress: Callable[[Moved], None] | None = None,
) -> Exported:
    """Export a job. Tars come first, the card then, the index last.

    Args:
        shard_bytes: merge the tars of units into tars of about so many bytes; None: a tar for each unit.
        partial: take a job that has not ended too, as far as it has come.
        threads: each holds one unit's tar in memory.

    Raises:
        NoSuchJob: there is none.
        ExportRefused: it has not ended, or the destination holds something else.
        ExportFailed: its manifest or a shard is damaged.
        DestinationFailed, OSError: the destination does not answer, or refuses.
        StoreUnavailable, StoreRefused: the same of the store that is read.
    """
    record = read_job(store, job)
    if not record.has_ended and not partial:
        raise ExportRefused(f"job {job} has not ended: wait for it, or export what it has with --partial.")
    try:
        ended = record.ended(store) if record.has_ended else None
    except ManifestDamaged as error:
        raise _damaged(job, str(error)) from error
    with destination.hold():
        _settle_in(destination, job, shard_bytes, ended)
        mover = _Mover(store, record, ended, destination, shard_bytes, progress)
        tars = mover.run(threads)
        index = _index(record, ended, shard_bytes, tars)
        for name in list(destination.names(f"{job}-")):
            # An export of the same job with more tars was here: a run of an earlier version of the same folder.
            if name.endswith(".tar") and name not in mover.names:
                destination.remove(name)
        for name, text in ((CARD, card_text(record.spec, index)), (INDEX, _readable(index))):
            with destination.writing(name) as file:
                file.write(text.encode())
    return Exported(index, mover.proven)


def _readable(index: ExportIndex) -> str:
    return index.model_dump_json(indent=1) + "\n"


def _settle_in(destination: Destination, job: str, shard_bytes: int | None, ended: Ended | None) -> None:
    """Leave a mark of what is exported here, or meet the one of an export that is to go on.

    Raises:
        ExportRefused: the place holds something else.
    """
    mine = {"job": job, "shard_bytes": shard_bytes}
    size = destination.size(MARKER)
    if size is not None:
        try:
            there = json.loads(destination.read(MARKER, 0, size))
        except ValueError:
            there = None
        if there != mine:
            other = there.get("job") if isinstance(there, dict) else None
            what = "an export of this job with another --shard-size" if other == job else f"an export of job {other}"
            raise ExportRefused(f"{destination.where} holds {what}: name an empty place.")
        _drop_outdated_index(destination, ended)
        return
    taken = [name for name in (CARD, INDEX) if destination.size(name) is not None]
    taken += [next(destination.names(f"{job}-"), "")]
    if any(taken):
        raise ExportRefused(
            f"{destination.where} holds {next(filter(None, taken))}, of no export: name an empty place."
        )
    with destination.writing(MARKER) as file:
        file.write(json.dumps(mine).encode())


def _drop_outdated_index(destination: Destination, ended: Ended | None) -> None:
    """While tars are replaced by those of another generation, no index says that all is well."""
    size = destination.size(INDEX)
    if size is None:
        return
    try:
        there = ExportIndex.from_bytes(destination.read(INDEX, 0, size)).manifest_sha256
    except ValidationError:
        there = None
    if ended is None or there != ended.manifest_sha256:
        destination.remove(INDEX)


class _Mover:
    def __init__(
        self,
        store: ObjectStore,
        record: JobRecord,
        ended: Ended | None,
        destination: Destination,
        shard_bytes: int | None,
        progress: Callable[[Moved], None] | None,
    ) -> None:
        self._store, self._record, self._ended, self._destination = store, record, ended, destination
        self._shard_bytes, self._progress = shard_bytes, progress
        self.proven = self._images = self._bytes = 0
        self.names: set[str] = set()

    def run(self, threads: int) -> list[ExportedTar]:
        """All tars, in order."""
        job = self._record.spec.job
        done: list[ExportedTar] = []
        waiting: deque[tuple[Bundle, Future[tuple[ExportedTar, bool]]]] = deque()
        pool = ThreadPoolExecutor(threads, "export")

        def settle() -> None:
            bundle, future = waiting.popleft()
            try:
                tar, was_there = future.result()
            except (ObjectMissing, StoreDamaged, ValidationError) as error:
                units = ", ".join(str(unit) for unit, _ in bundle.shards[:4])
                raise _damaged(job, f"{bundle.name} (unit {units}): {error}") from error
            done.append(tar)
            self.proven += was_there
            self._images += tar.images
            self._bytes += tar.size
            if self._progress is not None:
                of = self._ended.counts.images if self._ended is not None else None
                self._progress(Moved(len(done), self._images, of, self._bytes))

        try:
            for bundle in bundles(job, self._lines(), self._shard_bytes):
                if len(self.names) == _MOST_TARS:
                    raise ExportRefused(f"more than {_MOST_TARS:,} tars: merge them with --shard-size.")
                self.names.add(bundle.name)
                waiting.append((bundle, pool.submit(self._move, bundle)))
                while len(waiting) > threads:
                    settle()
            while waiting:
                settle()
        except ManifestDamaged as error:
            raise _damaged(job, str(error)) from error
        finally:
            pool.shutdown(cancel_futures=True)
        return done

    def _move(self, bundle: Bundle) -> tuple[ExportedTar, bool]:
        there = prove(self._store, bundle, self._destination)
        if there is not None:
            return there, True
        return write(self._store, bundle, self._destination), False

    def _lines(self) -> Iterator[ManifestLine]:
        if self._ended is not None:
            yield from proven_lines(self._store, self._ended)
            return
        for info in self._store.list(layout.commits_prefix(self._record.spec.job)):
            try:
                commit = Commit.from_bytes(self._store.get(info.key))
            except (ObjectMissing, ValidationError) as error:
                raise ManifestDamaged(info.key, "the commit cannot be read") from error
            yield ManifestLine.of(commit)


def _index(record: JobRecord, ended: Ended | None, shard_bytes: int | None, tars: list[ExportedTar]) -> ExportIndex:
    spec, job = record.spec, record.spec.job
    urls = f"{job}-{{000000..{len(tars) - 1:06d}}}.tar" if len(tars) > 1 else "".join(tar.name for tar in tars)
    return ExportIndex(
        job=job,
        name=spec.name,
        generation=None if ended is None else ended.generation,
        manifest_sha256=None if ended is None else ended.manifest_sha256,
        partial=ended is None,
        urls=urls,
        shard_bytes=shard_bytes,
        captions=sum(tar.captions for tar in tars),
        images=sum(tar.images for tar in tars),
        images_per_caption=spec.images_per_caption,
        image_size=spec.render.size,
        image_format=spec.render.image_format,
        bytes=sum(tar.size for tar in tars),
        tars=tuple(tars),
    )


def _damaged(job: str, what: str) -> ExportFailed:
    return ExportFailed(f"{what}. `synfarm verify {job}` finds all that is damaged; restore it, and export again.")
