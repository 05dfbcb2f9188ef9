"""Reads samples through commits only, proves every byte, and does a bounded amount of work however large the job is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit, GroupRow, SampleMeta
from synfarm.contracts.generations import unit_of
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Progress
from synfarm.storage.protocol import ObjectInfo, ObjectMissing, ObjectStore, StoreDamaged
from synfarm.storage.shard_reader import Group, fetch_group
from synfarm.telemetry import get_logger
from synfarm_caption_api.prompts.concept_plan import ConceptPlan
from synfarm_caption_api.samples.candidates import Candidates, Extent, Query
from synfarm_caption_api.samples.plans import Plans

__all__ = ["Located", "Missing", "Sample", "SampleReader", "Sampling"]

_log = get_logger(__name__)

_ABOVE = 1000
"""Commits above the watermark that one page knows of: one answer of a listing."""
_SPARE_READS = 64
"""Commits that a page may read beyond twice its limit, where slots are empty or units are dead."""
_THREADS = 8
_ROWS_KEPT = 2048
"""Rows of commits in memory (some kilobytes each), because all images of a group are asked for in a row."""


class Missing(Exception):
    """There is no such group; ``code`` says why, in a word for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Located:
    """A committed group, and the tar that holds it."""

    unit: int
    shard: str
    row: GroupRow


@dataclass(frozen=True, slots=True)
class Sample:
    """A group that was read and proven."""

    located: Located
    meta: SampleMeta


@dataclass(frozen=True, slots=True)
class Sampling:
    """A page as it was read."""

    samples: tuple[Sample, ...]
    damaged: tuple[str, ...]
    """Caption ids whose commit or bytes cannot be believed."""
    next_cursor: int | None


class SampleReader:
    """Thread-safe. Every method may raise StoreUnavailable or StoreRefused."""

    def __init__(self, store: ObjectStore) -> None:
        self._store, self._plans = store, Plans(store)
        self._threads = ThreadPoolExecutor(_THREADS, "samples")
        # A commit never changes, so a row once found stays right; a row not found raises, which is not kept.
        self._found = lru_cache(_ROWS_KEPT)(self._find)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def plan(self, spec: JobSpec) -> ConceptPlan:
        """Which concept each caption of the job is planned with."""
        return self._plans.of(spec)

    def locate(self, spec: JobSpec, index: int) -> Located:
        """The committed group of a caption.

        Raises:
            Missing: the job plans no such caption, or has not drawn it, or left its slot empty.
            StoreDamaged: its commit cannot be believed.
        """
        if index >= spec.captions:
            raise Missing("sample_not_found", f"The job plans the captions 0 to {spec.captions - 1}, not {index}.")
        return self._found(spec.job, unit_of(spec, index), index)

    def fetch(self, located: Located) -> Group:
        """The group's bytes by one range read, proven by its checksum.

        Raises:
            StoreDamaged: they are not those that were committed, or not there.
        """
        try:
            try:
                return fetch_group(self._store, located.shard, located.row)
            except StoreDamaged:
                # What was damaged on the way is right when it is read again; what is damaged at rest is not.
                return fetch_group(self._store, located.shard, located.row)
        except ObjectMissing as error:
            raise StoreDamaged(f"{located.shard}: named by a commit, but gone") from error

    def sample(self, located: Located) -> Sample:
        """The group with its provenance.

        Raises:
            StoreDamaged: as :meth:`fetch`.
        """
        return Sample(located, self.fetch(located).meta())

    def page(self, spec: JobSpec, query: Query) -> Sampling:
        """Groups spread over what is committed.

        Costs one small object, one listing, at most ``2 * limit + 64`` commits and ``limit`` range reads, however
        large the job is. So a page may be short, even empty, and still have a next cursor.
        """
        plan = self.plan(spec)
        candidates = Candidates(spec, query, self._extent(spec.job), plan)
        stream = iter(candidates)
        found, damaged = self._choose(spec, query, stream, plan)
        samples: list[Sample] = []
        for located, sample in zip(found, self._threads.map(self._sample_or_none, found), strict=True):
            if sample is None:
                damaged.append(located.row.caption_id)
            else:
                samples.append(sample)
        following = next(stream, None)
        return Sampling(tuple(samples), tuple(damaged), following[0] if following else candidates.stopped_at)

    def _choose(
        self, spec: JobSpec, query: Query, stream: Iterator[tuple[int, int]], plan: ConceptPlan
    ) -> tuple[list[Located], list[str]]:
        """The groups of a page, and the caption ids whose commit cannot be believed."""
        concepts = 1 if query.concept is not None else max(plan.names, 1)
        most = min(query.limit, (query.per_concept or query.limit) * concepts)
        reads_left = 2 * query.limit + _SPARE_READS
        found: list[Located] = []
        damaged: list[str] = []
        taken: Counter[int] = Counter()
        while len(found) < most and reads_left > 0:
            batch: dict[int, int] = {}
            for index, concept in stream:
                if query.per_concept is not None and taken[concept] >= query.per_concept:
                    continue
                taken[concept] += 1
                batch[index] = concept
                if len(batch) == min(most - len(found), reads_left):
                    break
            if not batch:
                break
            reads_left -= len(batch)
            for index, located in self._read_rows(spec, batch):
                if isinstance(located, Located) and _is_of(located, plan, query):
                    found.append(located)
                    continue
                taken[batch[index]] -= 1
                if isinstance(located, StoreDamaged):
                    damaged.append(caption_id(spec.job, index))
        return found, damaged

    def _read_rows(self, spec: JobSpec, indices: Iterable[int]) -> Iterator[tuple[int, Located | StoreDamaged | None]]:
        """What the commits say of captions, in the order asked for; each commit is read once."""
        wanted = list(indices)
        units = list(dict.fromkeys(unit_of(spec, index) for index in wanted))

        def read(unit: int) -> dict[int, Located] | StoreDamaged:
            mine = {index for index in wanted if unit_of(spec, index) == unit}
            try:
                commit = self._commit(spec.job, unit)
            except StoreDamaged as error:
                _log.error("commit_damaged", job=spec.job, unit=unit, error=str(error))
                return error
            return {row.index: _located(commit, row) for row in commit.groups if row.index in mine} if commit else {}

        read_units = dict(zip(units, self._threads.map(read, units), strict=True))
        for index in wanted:
            rows = read_units[unit_of(spec, index)]
            if isinstance(rows, StoreDamaged):
                yield index, rows
            else:
                yield index, rows.get(index)

    def _find(self, job: str, unit: int, index: int) -> Located:
        commit = self._commit(job, unit)
        if commit is None:
            raise Missing("sample_not_ready", f"Caption {index} is in unit {unit}, which is not committed.")
        for row in commit.groups:
            if row.index == index:
                return _located(commit, row)
        reasons = [slot.reason.value for slot in commit.empty if slot.index == index]
        why = f" ({reasons[0]})" if reasons else ""
        raise Missing("sample_empty", f"The slot of caption {index} is empty: every text was refused{why}.")

    def _commit(self, job: str, unit: int) -> Commit | None:
        key = layout.commit(job, unit)
        try:
            commit = Commit.from_bytes(self._store.get(key))
        except ObjectMissing:
            return None
        except ValidationError as error:
            raise StoreDamaged(f"{key}: not a commit: {error.error_count()} faults") from error
        # Rows of another unit, or a tar of somebody else's job, would be served to people who may not see them.
        own = (job, "shards", unit)
        if (commit.job, commit.unit) != (job, unit) or (commit.shard and _parsed(commit.shard.key) != own):
            raise StoreDamaged(f"{key}: the commit of something else")
        return commit

    def _sample_or_none(self, located: Located) -> Sample | None:
        try:
            return self.sample(located)
        except StoreDamaged as error:
            _log.error("sample_damaged", caption_id=located.row.caption_id, shard=located.shard, error=str(error))
            return None

    def _extent(self, job: str) -> Extent:
        try:
            watermark = Progress.from_bytes(self._store.get(layout.progress(job))).watermark
        except ObjectMissing:
            watermark = 0
        after = layout.commit(job, watermark - 1) if watermark else None
        listed = self._store.list(layout.commits_prefix(job), start_after=after, limit=_ABOVE)
        return Extent(watermark, frozenset(_units(listed)))


def _is_of(located: Located, plan: ConceptPlan, query: Query) -> bool:
    """The row has the last word on its concept; the plan has only told where to look."""
    return query.concept is None or plan.find(located.row.concept) == query.concept


def _located(commit: Commit, row: GroupRow) -> Located:
    return Located(commit.unit, commit.shard.key if commit.shard else "", row)


def _parsed(key: str) -> tuple[str, str, int] | None:
    try:
        return layout.parse_unit(key)
    except ValueError:
        return None


def _units(listed: Iterable[ObjectInfo]) -> Iterator[int]:
    for info in listed:
        parsed = _parsed(info.key)
        if parsed is not None:
            yield parsed[2]
