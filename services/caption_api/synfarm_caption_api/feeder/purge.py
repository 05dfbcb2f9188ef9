"""Removing a job that was deleted: workers first let go, then its objects go in bounded steps, the tombstone stays."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime, timedelta
from itertools import islice

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.tombstones import Tombstone
from synfarm.queue.board import Board
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm.telemetry import get_logger
from synfarm_caption_api.feeder.settings import FeederSettings

__all__ = ["Purge", "binding_pin", "is_deleted", "withdraw"]

_log = get_logger(__name__)
_PIN_GRACE = timedelta(minutes=10)
"""A pin is written before its run; one whose run never came binds nobody after this."""
_PINS_READ = 1000


def binding_pin(store: ObjectStore, job: str, now: Callable[[], datetime] = utc_now) -> str | None:
    """A run that reads the job, so that it must stay."""
    for info in islice(store.list(layout.pins_prefix(job)), _PINS_READ):
        run = info.key.rpartition("/")[2]
        try:
            exists = store.head(layout.run(run)) is not None
        except ValueError:
            _log.warning("not_a_pin", key=info.key)
            continue
        if exists or now() - info.modified < _PIN_GRACE:
            return run
    return None


def withdraw(store: ObjectStore, job: str) -> None:
    """Take a deletion back that met a pin, before anything was removed."""
    store.delete(layout.tombstone(job))
    if next(store.list(layout.ended_prefix(job), limit=1), None) is not None and not _has_open_generation(store, job):
        store.delete(layout.active(job))


def _has_open_generation(store: ObjectStore, job: str) -> bool:
    ended = [info.key.rpartition("/")[2] for info in store.list(layout.ended_prefix(job))]
    opened = [info.key.rpartition("/")[2] for info in store.list(layout.openings_prefix(job))]
    return bool(opened) and opened[-1] > ended[-1]


class Purge:
    """One job's deletion in the memory of the leading feeder; everything in it can be rebuilt from the store."""

    def __init__(
        self, store: ObjectStore, board: Board, job: str, readers: Executor, rules: FeederSettings, now: float
    ) -> None:
        self._store, self._board, self._job, self._readers, self._rules = store, board, job, readers, rules
        self._began = now
        self._quiet_passes = 0
        self._purging = False

    def step(self, now: float) -> bool:
        """Go on; True when the deletion is over: done, or withdrawn because a run reads the job."""
        if not self._purging and not self._may_begin(now):
            return self._store.head(layout.tombstone(self._job)) is None
        return self._remove()

    def _may_begin(self, now: float) -> bool:
        try:
            stone = Tombstone.from_bytes(self._store.get(layout.tombstone(self._job)))
        except ObjectMissing:
            return False  # withdrawn a moment ago
        if stone.purging:
            self._purging = True
            return True
        if (run := binding_pin(self._store, self._job)) is not None:
            # A run that starts now sees the tombstone and takes its pin back. One that stays was here before.
            if now - self._began >= self._rules.pin_settle_seconds:
                _log.warning("deletion_withdrawn", job=self._job, run=run)
                withdraw(self._store, self._job)
            return False
        flight = self._board.flight
        units = flight.sent(self._job).keys() | flight.claims(self._job).keys()
        self._quiet_passes = 0 if flight.leases(self._job, units) else self._quiet_passes + 1
        if self._quiet_passes < 2 and now - self._began < self._rules.cancel_drain_seconds:
            return False
        data = stone.model_copy(update={"purging": True}).to_bytes()
        self._store.put(layout.tombstone(self._job), data, content_type="application/json")
        self._purging = True
        return True

    def _remove(self) -> bool:
        last = {layout.tombstone(self._job), layout.job(self._job)}
        most = self._rules.deletes_per_pass
        found = [info.key for info in self._store.list(layout.job_prefix(self._job), limit=most + len(last))]
        keys = [key for key in found if key not in last][:most]
        for _ in self._readers.map(self._store.delete, keys):
            pass
        if len(keys) == most:
            return False
        # The spec tells who may see the job, and the active mark brings a feeder here: they go last, in this order.
        self._store.delete(layout.job(self._job))
        self._store.delete(layout.active(self._job))
        self._board.forget(self._job)
        _log.info("job_purged", job=self._job)
        return True


def is_deleted(store: ObjectStore, job: str) -> bool:
    """Whether a purge of the job has begun: then it has no spec any more, or soon will not."""
    try:
        return Tombstone.from_bytes(store.get(layout.tombstone(job))).purging
    except ObjectMissing:
        return False
