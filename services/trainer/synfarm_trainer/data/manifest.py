"""From a dataset named by hash to the groups it holds, every step of the way proven."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts import layout
from synfarm.contracts.commits import GroupRow, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.contracts.manifests import ManifestPart
from synfarm.contracts.runs import DatasetRef
from synfarm.storage.manifest_reader import ManifestDamaged, read_ended
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger
from synfarm_trainer.data.assembly import Assembly
from synfarm_trainer.data.commits import CommitShelf, LazyRows, LazyShards
from synfarm_trainer.data.filtering import NEAR_COLUMNS, Filters, first_of_near
from synfarm_trainer.data.parts import PartArrays, part_arrays
from synfarm_trainer.data.table import Derived, GroupTable, least_unsigned
from synfarm_trainer.patience import patiently
from synfarm_trainer.proving import surely

__all__ = ["Dataset", "DatasetInvalid", "Increment", "PartsRead", "load_dataset"]

_log = get_logger(__name__)


PartsRead = MutableMapping[tuple[str, str], PartArrays]
"""By key and hash of the part."""


class DatasetInvalid(Exception):
    """The dataset is not the one that the run froze, or cannot serve it; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Increment:
    """Some parts of a generation's manifest, named by their hashes; the generation may not have ended."""

    job: str
    generation: int
    parts: tuple[ManifestPart, ...]


@dataclass(frozen=True, eq=False)
class Dataset:
    """All groups of a run's datasets in manifest order.

    What the plan needs is at hand. ``shards`` and ``rows`` of a loaded dataset read a shard's commit when it is first
    needed: they wait for a store that is away, and raise ``DatasetDamaged`` for a commit that is not the manifest's.
    """

    shards: Sequence[ShardRef]
    rows: Sequence[GroupRow]
    shard_of: Sequence[int] | Derived
    """For each row the place of its shard."""
    concepts: tuple[str, ...]
    """Sorted names; their places are the concept codes of the table."""
    table: GroupTable
    sources: NDArray[np.unsignedinteger[Any]]
    """For each shard the place of what it was read from among those that :func:`load_dataset` was given."""
    left_out: int = 0
    """Groups that the manifests name and the run's filters leave out."""
    images: NDArray[np.unsignedinteger[Any]] | None = None
    """(G,): images of each group; None: ask the rows."""
    shelf: CommitShelf | None = field(default=None, repr=False)

    def images_of(self, row: int) -> int:
        """Images of a group: its members but for the JSON."""
        return len(self.rows[row].members) - 1 if self.images is None else int(self.images[row])

    def close(self) -> None:
        """Let go whoever waits for a commit."""
        if self.shelf is not None:
            self.shelf.close()


def load_dataset(
    store: ObjectStore,
    refs: Sequence[DatasetRef | Increment],
    *,
    views: int,
    drop_near_duplicates: bool = False,
    min_scores: Mapping[str, float] = MappingProxyType({}),
    max_scores: Mapping[str, float] = MappingProxyType({}),
    concepts: Sequence[str] = (),
    templates: Sequence[str] = (),
    threads: int = 8,
    commits: int = 256,
    known: PartsRead | None = None,
) -> Dataset:
    """Read and verify ``ended`` and the columns of all datasets; leave out what :class:`Filters` says.

    A part of a manifest without columns, of an older version, is made from its commits. A store that is away is waited
    for at the part that is read.

    Args:
        commits: held at a time of those that rows and shards are read from.
        known: parts that were read before, with the same filters; what is read now is added.

    Raises:
        DatasetInvalid: a hash differs, nothing is left, or a group has fewer than ``views`` images.
        UnknownScore, UnknownName: a filter names what no group has.
        ValueError: a caption is there twice.
        StoreError, pydantic.ValidationError: an object cannot be read or is malformed.
    """
    filters = Filters(drop_near_duplicates, min_scores, max_scores, concepts, templates)
    parts = [(place, part) for place, ref in enumerate(refs) for part in _parts(store, ref)]
    made = Assembly(sum(part.groups for _, part in parts))
    sources = [np.empty(0, dtype=least_unsigned(len(refs)))]
    near: list[tuple[NDArray[np.float64], ...]] = []
    left_out = 0
    try:
        named = [(refs[place].job, part) for place, part in parts]
        for (place, _), (job, arrays) in zip(parts, _read(store, named, filters, threads, known), strict=True):
            stays = _stays(filters, arrays)
            sources.append(np.full(len(arrays.numbers["unit.groups"]), place, dtype=sources[0].dtype))
            left_out += 0 if stays is None else int((~stays).sum())
            made.add(job, arrays, stays)
            if drop_near_duplicates:
                near.append(tuple(_kept(arrays, name, stays) for name in NEAR_COLUMNS))
    except ManifestDamaged as error:
        job = error.key.split("/")[1]
        raise DatasetInvalid(f"{error}; `synfarm verify {job}` tells what else is damaged") from error
    if not made.groups and not left_out:
        raise DatasetInvalid("datasets: the manifest holds no caption group with images")
    filters.check()
    if drop_near_duplicates:
        first = first_of_near([np.concatenate(column) for column in zip(*near, strict=True)])
        near.clear()
        left_out += int((~first).sum())
        made.keep(first)
    if not made.groups:
        raise DatasetInvalid(f"{filters.fields}: no caption group is within these bounds; widen them")
    table, refs_of, images, names = made.finish()
    if (poor := _first_poor(images, views)) is not None:
        name = caption_id(refs_of.jobs[int(refs_of.job[int(table.shard[poor])])], int(table.index[poor]))
        raise DatasetInvalid(
            f"data.views: caption {name} has {int(images[poor])} images, the run asks for {views}; lower it to that"
        )
    shelf = CommitShelf(store, refs_of, most=commits)
    shards, rows = LazyShards(table, shelf), LazyRows(table, shelf, refs_of)
    return Dataset(shards, rows, table.shard, names, table, np.concatenate(sources), left_out, images, shelf)


def _parts(store: ObjectStore, ref: DatasetRef | Increment) -> tuple[ManifestPart, ...]:
    if isinstance(ref, Increment):
        return ref.parts
    key = layout.ended(ref.job, ref.generation)
    try:
        ended = patiently(surely, lambda: read_ended(store, key))
    except ManifestDamaged as error:
        raise DatasetInvalid(f"{error}; `synfarm verify {ref.job}` tells what else is damaged") from error
    if ended.manifest_sha256 != ref.manifest_sha256:
        raise DatasetInvalid(f"{key} names another manifest than the run froze ({ref.manifest_sha256[:12]}…)")
    if without := sum(part.columns is None for part in ended.parts):
        _log.info("manifest_without_columns", job=ref.job, parts=without, reads="the commits of their units")
    return ended.parts


def _read(
    store: ObjectStore,
    parts: Sequence[tuple[str, ManifestPart]],
    filters: Filters,
    threads: int,
    known: PartsRead | None,
) -> Iterator[tuple[str, PartArrays]]:
    """Parts in their order, a few ahead."""
    scores, templates = filters.wanted_scores, bool(filters.templates)

    def read(job: str, part: ManifestPart, pool: Executor) -> PartArrays:
        mark = part.key, part.sha256
        if known is not None and mark in known:
            return known[mark]
        arrays = partial(part_arrays, store, job, part, scores=scores, templates=templates, pool=pool)
        found = patiently(surely, arrays)
        if known is not None:
            known[mark] = found
        return found

    waiting: deque[tuple[str, Future[PartArrays]]] = deque()
    with ThreadPoolExecutor(threads, "commits") as commits, ThreadPoolExecutor(threads, "columns") as pool:
        try:
            for job, part in parts:
                waiting.append((job, pool.submit(read, job, part, commits)))
                if len(waiting) > threads:
                    name, future = waiting.popleft()
                    yield name, future.result()
            while waiting:
                name, future = waiting.popleft()
                yield name, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _stays(filters: Filters, arrays: PartArrays) -> NDArray[np.bool_] | None:
    names = {"concepts": arrays.concepts, "templates": arrays.templates}
    codes = {what: arrays.numbers.get(f"group.{what[:-1]}") for what in names}
    return filters.stays(names, codes, arrays.scores, arrays.score_names)


def _kept(arrays: PartArrays, name: str, stays: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    scores = arrays.scores.get(name)
    values = np.full(arrays.groups, np.nan) if scores is None else scores
    return values if stays is None else values[stays]


def _first_poor(images: NDArray[np.unsignedinteger[Any]], views: int) -> int | None:
    if int(images.min()) >= views:
        return None
    return int(np.argmax(images < views))
