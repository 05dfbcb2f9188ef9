"""One unit from its captions to its commit: draw, pack, upload, verify, commit; the commit protocol lives here.

The device is needed for the drawing alone. The rest (the encoding of the last batch, too) is a ``Finishing``, which the
runner runs in a thread while the next unit is drawn.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from pydantic import ValidationError
from redis.exceptions import RedisError

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.commits import Commit, EmptySlot, GroupRow, ShardRef
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.renders import UnitTask
from synfarm.faults import Faults
from synfarm.queue.board import Board
from synfarm.queue.finishing import Finishing
from synfarm.queue.lease import Interrupt, Lease, UnitInterrupted
from synfarm.queue.unit import UnitFault
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreUnavailable
from synfarm.telemetry import get_logger
from synfarm.tracing import Tracing
from synfarm_render_worker.device_clock import DeviceClock
from synfarm_render_worker.drawing import DrawnUnit, UnitDrawer
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.packing import DrawnBy, pack
from synfarm_render_worker.prefetch import CaptionPrefetch
from synfarm_render_worker.renderer import Renderer, RendererFactory
from synfarm_render_worker.unit_captions import read_captions

__all__ = ["UnitRenderer"]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Shard:
    data: bytes
    ref: ShardRef
    groups: tuple[GroupRow, ...]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A unit that needs the device no more."""

    spec: JobSpec
    task: UnitTask
    lease: Lease
    jsonl: bytes
    records: Sequence[CaptionRecord]
    images: DrawnUnit | None
    """None if every slot is empty."""
    by: DrawnBy
    began: float
    """``time.monotonic()`` when the unit came."""
    cost: float
    """Seconds of the worker: less than passed if the unit before it was finishing meanwhile."""

    @property
    def kept(self) -> list[CaptionRecord]:
        return [record for record in self.records if record.text is not None]


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
        device: DeviceClock | None = None,
        prefetch: CaptionPrefetch | None = None,
        loaded: Callable[[Renderer], None] = lambda _: None,
        tracing: Tracing | None = None,
    ) -> None:
        """
        Args:
            loaded: told of each unit's renderer before it draws.
        """
        self._store, self._board, self._faults = store, board, faults
        self._renderers, self._drawer, self._metrics, self._worker = renderers, drawer, metrics, worker
        self._device, self._prefetch, self._loaded = device or DeviceClock(), prefetch, loaded
        self._last_drawn, self._tracing = float("-inf"), tracing or Tracing()

    def work(self, spec: JobSpec, task: UnitTask, lease: Lease) -> Finishing:
        """Draw the unit; what is returned commits it (or sees that another worker committed it first).

        Raises:
            UnitFault: it cannot be rendered.
            UnitInterrupted: it must be let go.
            StoreUnavailable: the store is away.
        """
        reading_ahead = nullcontext() if self._prefetch is None else self._prefetch.unit()
        with self._device.unit(), reading_ahead, self._tracing.part("draw"):
            drawn = self._drawn(spec, task, lease, time.monotonic())
        return Finishing(lambda: self._finish(drawn), 0 if drawn.images is None else drawn.images.size)

    def _drawn(self, spec: JobSpec, task: UnitTask, lease: Lease, began: float) -> _Drawn:
        jsonl = self._captions(task)
        records = read_captions(spec, task.unit, jsonl)
        renderer = self._renderers(spec.render, lease.step)
        self._loaded(renderer)
        by = DrawnBy.of(renderer)
        kept = [record for record in records if record.text is not None]
        images = self._drawer.draw(spec, kept, renderer, lease) if kept else None
        self._faults.reach("render.after_draw", task.unit)
        now = time.monotonic()
        cost, self._last_drawn = now - self._last_drawn, now
        return _Drawn(spec, task, lease, jsonl, records, images, by, began, cost)

    def _finish(self, drawn: _Drawn) -> None:
        """From the last encoded image to the commit.

        Raises:
            As :meth:`work`.
        """
        timings: dict[str, float] = {}
        shard = None if drawn.images is None else self._shard(drawn, drawn.images, timings)
        if shard is not None:
            drawn.lease.check(drawn=True)
            with self._tracing.part("upload"):
                self._upload(drawn.task.unit, shard, drawn.lease, timings)
        timings["total"] = time.monotonic() - drawn.began
        timings["cost"] = min(timings["total"], drawn.cost)
        commit = Commit(
            job=drawn.task.job,
            unit=drawn.task.unit,
            attempt=drawn.lease.attempt,
            worker=self._worker,
            committed_at=utc_now(),
            shard=None if shard is None else shard.ref,
            groups=() if shard is None else shard.groups,
            empty=tuple(_empty_slots(drawn.records)),
            captions_sha256=hashlib.sha256(drawn.jsonl).hexdigest(),
            timings={stage: round(seconds, 4) for stage, seconds in timings.items()},
            measures={} if drawn.images is None else _measures(drawn.images),
            versions=dict(drawn.by.versions),
        )
        with self._tracing.part("commit"):
            self._commit(commit)

    def _captions(self, task: UnitTask) -> bytes:
        try:
            if self._prefetch is not None:
                return self._prefetch.captions(task)
            return self._store.get(layout.captions(task.job, task.unit))
        except ObjectMissing as error:
            raise UnitFault(
                f"unit {task.unit} has no captions object; the feeder sends it to the caption stage"
            ) from error

    def _shard(self, drawn: _Drawn, unit: DrawnUnit, timings: dict[str, float]) -> _Shard:
        images = unit.images()
        drawn.lease.progress()
        timings |= {"render": unit.render_seconds, "encode": sum(one.seconds for group in images for one in group)}
        packed = pack(drawn.spec, drawn.kept, images, drawn.by)
        drawn.lease.progress()
        key = layout.shard(drawn.spec.job, drawn.task.unit, packed.sha256)
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
        lease.progress()

    def _commit(self, commit: Commit) -> None:
        if self._store.head(layout.tombstone(commit.job)) is not None:
            raise UnitInterrupted(Interrupt.DELETED)
        self._faults.reach("render.before_commit", commit.unit)
        key = layout.commit(commit.job, commit.unit)
        if not self._store.create(key, commit.to_bytes()):
            # Another worker was faster. Its commit stands; what we uploaded is its very object (equal bytes have one
            # name) or one that no commit names, which `synfarm gc` removes: workers never delete.
            self._metrics.lost_commits.inc()
            try:
                winner = Commit.from_bytes(self._store.get(key))
            except ValidationError as error:  # of a newer worker: it stands all the same, and the feeder counts it
                _log.info("commit_lost", ours=commit.attempt, theirs=str(error))
                return
            _log.info("commit_lost", ours=commit.attempt, theirs=winner.attempt)
            commit = winner
        self._faults.reach("render.after_commit", commit.unit)
        try:
            self._board.mark_commit(commit)
        except RedisError as error:
            # The unit is done whatever Redis knows; the feeder finds the commit when it lists.
            _log.warning("commit_not_marked", error=str(error))


def _empty_slots(records: Sequence[CaptionRecord]) -> list[EmptySlot]:
    return [
        EmptySlot(index=record.index, caption_id=record.caption_id, reason=record.empty_reason)
        for record in records
        if record.empty_reason is not None
    ]


def _measures(drawn: DrawnUnit) -> dict[str, float]:
    """What a model's renderer spent on the unit, as the commit tells it; nothing of a renderer without a model."""
    spent = drawn.spent
    if not spent.images:
        return {}
    return {
        "batch": float(drawn.batch),
        "denoise_ms_per_step": round(1000 * spent.denoise / max(1, spent.steps), 3),
        "vae_ms": round(1000 * spent.decode / spent.images, 3),
        "text_ms": round(1000 * spent.text / spent.images, 3),
        "truncated": float(spent.truncated),
    }
