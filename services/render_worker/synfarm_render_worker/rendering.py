"""One unit from its captions to its commit: draw, pack, upload, verify, commit; the commit protocol lives here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord, read_jsonl
from synfarm.contracts.commits import Commit, EmptySlot, GroupRow, ShardRef
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.renders import UnitTask
from synfarm.faults import Faults
from synfarm.queue.board import Board
from synfarm.queue.lease import Interrupt, Lease, UnitInterrupted
from synfarm.queue.unit import UnitFault
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreUnavailable
from synfarm.telemetry import get_logger
from synfarm_render_worker.drawing import UnitDrawer
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.packing import pack
from synfarm_render_worker.renderer import Renderer, RendererFactory

__all__ = ["UnitRenderer"]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Shard:
    data: bytes
    ref: ShardRef
    groups: tuple[GroupRow, ...]


class UnitRenderer:
    """The ``work`` of ``render.unit``."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        board: Board,
        faults: Faults,
        renderers: RendererFactory,
        drawer: UnitDrawer,
        metrics: RenderMetrics,
        worker: str,
    ) -> None:
        self._store, self._board, self._faults = store, board, faults
        self._renderers, self._drawer, self._metrics, self._worker = renderers, drawer, metrics, worker

    def work(self, spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        """Render and commit the unit; returns also when another worker committed it first.

        Raises:
            UnitFault: it cannot be rendered.
            UnitInterrupted: it must be let go.
            StoreUnavailable: the store is away.
        """
        began = time.monotonic()
        jsonl = self._captions(task)
        records = read_jsonl(jsonl)
        _check_records(spec, task.unit, records)
        timings: dict[str, float] = {}
        renderer = self._renderers(spec.render)
        shard = self._shard(spec, task.unit, records, renderer, lease, timings)
        if shard is not None:
            lease.check()
            self._upload(task.unit, shard, lease, timings)
        timings["total"] = time.monotonic() - began
        commit = Commit(
            job=task.job,
            unit=task.unit,
            attempt=lease.attempt,
            worker=self._worker,
            committed_at=utc_now(),
            shard=None if shard is None else shard.ref,
            groups=() if shard is None else shard.groups,
            empty=tuple(_empty_slots(records)),
            captions_sha256=hashlib.sha256(jsonl).hexdigest(),
            timings={stage: round(seconds, 4) for stage, seconds in timings.items()},
            versions=dict(renderer.versions),
        )
        self._commit(commit)

    def _captions(self, task: UnitTask) -> bytes:
        try:
            return self._store.get(layout.captions(task.job, task.unit))
        except ObjectMissing as error:
            raise UnitFault(
                f"unit {task.unit} has no captions object; the feeder sends it to the caption stage"
            ) from error

    def _shard(
        self,
        spec: JobSpec,
        unit: int,
        records: Sequence[CaptionRecord],
        renderer: Renderer,
        lease: Lease,
        timings: dict[str, float],
    ) -> _Shard | None:
        kept = [record for record in records if record.text is not None]
        if not kept:
            return None
        drawn = self._drawer.draw(spec, kept, renderer, lease)
        timings |= {"render": drawn.render_seconds, "encode": drawn.encode_seconds}
        packed = pack(spec, kept, drawn.images, renderer)
        key = layout.shard(spec.job, unit, packed.sha256)
        return _Shard(packed.data, ShardRef(key=key, sha256=packed.sha256, size=len(packed.data)), packed.groups)

    def _upload(self, unit: int, shard: _Shard, lease: Lease, timings: dict[str, float]) -> None:
        self._faults.reach("render.before_upload", unit)
        began = time.monotonic()
        self._store.put(shard.ref.key, shard.data, content_type="application/x-tar")
        timings["upload"] = time.monotonic() - began
        self._metrics.upload_seconds.observe(timings["upload"])
        self._metrics.uploaded.inc(shard.ref.size)
        lease.progress()
        self._faults.reach("render.after_upload", unit)
        found = self._store.head(shard.ref.key)
        if found is None or found.size != shard.ref.size:
            there = "nothing" if found is None else f"{found.size} bytes"
            raise StoreUnavailable(f"{shard.ref.key}: {shard.ref.size} bytes were uploaded, the store shows {there}")

    def _commit(self, commit: Commit) -> None:
        if self._store.head(layout.tombstone(commit.job)) is not None:
            raise UnitInterrupted(Interrupt.DELETED)
        self._faults.reach("render.before_commit", commit.unit)
        key = layout.commit(commit.job, commit.unit)
        if not self._store.create(key, commit.to_bytes()):
            # Another worker was faster. Its commit stands; what we uploaded is its very object (equal bytes have one
            # name) or one that no commit names, which `synfarm gc` removes: workers never delete.
            winner = Commit.from_bytes(self._store.get(key))
            self._metrics.lost_commits.inc()
            _log.info("commit_lost", job=commit.job, unit=commit.unit, ours=commit.attempt, theirs=winner.attempt)
            commit = winner
        self._faults.reach("render.after_commit", commit.unit)
        try:
            self._board.mark_commit(commit)
        except RedisError as error:
            # The unit is done whatever Redis knows; the feeder finds the commit when it lists.
            _log.warning("commit_not_marked", job=commit.job, unit=commit.unit, error=str(error))


def _check_records(spec: JobSpec, unit: int, records: Sequence[CaptionRecord]) -> None:
    planned, found = list(spec.unit_range(unit)), [record.index for record in records]
    if planned != found:
        raise UnitFault(f"the captions object of unit {unit} holds captions {found[:4]}…, the plan is {planned[:4]}…")


def _empty_slots(records: Sequence[CaptionRecord]) -> list[EmptySlot]:
    return [
        EmptySlot(index=record.index, caption_id=record.caption_id, reason=record.empty_reason)
        for record in records
        if record.empty_reason is not None
    ]
