"""`synfarm import`: the units of a plan, one after another, then the manifest, the end record, and last the job."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from pydantic import Field
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import Contract, utc_now
from synfarm.contracts.commits import Commit
from synfarm.contracts.ids import Name
from synfarm.contracts.imports import ImportRef
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, ManifestLine, ManifestPart, manifest_hash
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.render_settings import RenderSettings
from synfarm.idempotency import claim
from synfarm.importing.card import card_text
from synfarm.importing.listing import ImportRefused
from synfarm.importing.planning import ImportPlan
from synfarm.importing.units import import_unit
from synfarm.storage.group_columns import UnitColumns
from synfarm.storage.manifest_writer import create_part
from synfarm.storage.protocol import ObjectStore

__all__ = ["ImportAsked", "Imported", "Step", "import_images"]

_ROUTE = "synfarm import"


class ImportAsked(Contract):
    """What a name stands for; an import is gone on with if it is asked for in the same words."""

    name: Name
    owner: Name
    source: ImportRef
    image_format: Literal["jpg", "webp"] = "jpg"
    size: int = Field(default=512, ge=32, le=2048)
    """Longest side that is stored, in pixels."""
    quality: int = Field(default=95, ge=1, le=100)
    """Of what is encoded anew."""
    per_unit: int = Field(ge=1, le=1024)
    """Images a shard."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far an import has come."""

    units: int
    of: int
    images: int
    bytes: int
    """Of the shards."""


@dataclass(frozen=True, slots=True)
class Imported:
    job: str
    ended: Ended
    found: int
    """Units that an earlier call had committed."""


def import_images(
    store: ObjectStore,
    plan: ImportPlan,
    asked: ImportAsked,
    *,
    threads: int = 2,
    tell: Callable[[str, str], None] = lambda name, what: None,
    progress: Callable[[Step], None] = lambda step: None,
) -> Imported:
    """A finished job of the plan's images: nobody sees it before it is whole, for ``job.json`` comes last.

    Begun again with the same name, files and settings it goes on with what it has committed, in the same job.

    Args:
        threads: each holds one shard in memory.
        tell: (name, what) of a file that is left out now; called in the threads.

    Raises:
        ImportRefused: the name stands for another import, or for a deleted one; no image can be read.
        OSError: a file cannot be read.
        StoreError: the store is away, or refuses.
    """
    spec = _spec(store, plan, asked)
    if (done := _done(store, spec)) is not None:
        return done
    counts, parts, found, lines, columns = Counts(), list[ManifestPart](), 0, list[ManifestLine](), {}
    for commit, data, new in _units(store, spec, plan, threads, tell):
        line = ManifestLine.of(commit)
        lines.append(line)
        counts, found = counts + line.counts, found + (not new)
        if (one := UnitColumns.of(commit, sha256(data).hexdigest())) is not None:
            columns[commit.unit] = one
        progress(Step(commit.unit + 1, spec.units, counts.images, counts.bytes))
        if len(lines) == layout.FAN or commit.unit + 1 == spec.units:
            if counts.images:
                parts.append(create_part(store, spec.job, 1, len(parts), lines, columns))
            lines, columns = [], {}
    if not counts.images:
        raise ImportRefused(f"none of {spec.captions} files is an image that can be read; nothing was imported.")
    return Imported(spec.job, _finish(store, spec, counts, parts), found)


def _spec(store: ObjectStore, plan: ImportPlan, asked: ImportAsked) -> JobSpec:
    try:
        record = claim(
            store,
            owner=asked.owner,
            route=_ROUTE,
            key=sha256(asked.name.encode()).hexdigest(),
            body=asked.to_bytes(),
            new_id=str(ULID()).lower(),
        )
    except ProblemError as error:
        raise ImportRefused(
            f"--name {asked.name!r}: it stands for an import of other files or by other settings; choose another "
            "name, or ask in the words of the first time."
        ) from error
    if store.head(layout.tombstone(record.id)) is not None:
        told = f"--name {asked.name!r}: its job {record.id} was deleted; choose another name."
        raise ImportRefused(told)
    return JobSpec(
        **({"concepts": plan.concepts} if plan.concepts else {}),
        name=asked.name,
        captions=len(plan.items),
        images_per_caption=1,
        render=RenderSettings(size=asked.size, image_format=asked.image_format, quality=asked.quality),
        source=plan.source,
        job=record.id,
        owner=asked.owner,
        created_at=record.at,
        captions_per_unit=asked.per_unit,
    )


def _done(store: ObjectStore, spec: JobSpec) -> Imported | None:
    if store.head(layout.job(spec.job)) is None:
        return None
    return Imported(spec.job, Ended.from_bytes(store.get(layout.ended(spec.job, 1))), spec.units)


def _units(
    store: ObjectStore, spec: JobSpec, plan: ImportPlan, threads: int, tell: Callable[[str, str], None]
) -> Iterator[tuple[Commit, bytes, bool]]:
    """Commits in order of units, some units ahead in threads."""
    waiting: deque[Future[tuple[Commit, bytes, bool]]] = deque()
    pool = ThreadPoolExecutor(threads, "import")
    try:
        for unit in range(spec.units):
            which = spec.unit_range(unit)
            items = plan.items[which.start : which.stop]
            waiting.append(pool.submit(import_unit, store, spec, unit, items, tell))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _finish(store: ObjectStore, spec: JobSpec, counts: Counts, parts: list[ManifestPart]) -> Ended:
    ended = Ended(
        job=spec.job,
        generation=1,
        state=JobState.COMPLETED,
        planned=spec.captions,
        counts=counts,
        parts=tuple(parts),
        manifest_sha256=manifest_hash(parts),
        ended_at=utc_now(),
    )
    key = layout.ended(spec.job, 1)
    if not store.create(key, ended.to_bytes()):
        ended = Ended.from_bytes(store.get(key))
    store.put(layout.card(spec.job), card_text(spec, ended).encode(), content_type="text/markdown")
    # Until now the folder of the job was nobody's: this is what makes it one.
    store.create(layout.job(spec.job), spec.to_bytes())
    return ended
