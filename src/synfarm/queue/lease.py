"""Leases: the one thing that makes early acks safe, because a unit without a living lease is sent again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum

from pydantic import Field, TypeAdapter
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis import Redis
from redis.exceptions import RedisError
from ulid import ULID

from synfarm.contracts.renders import UnitTask
from synfarm.queue.flight import Holder
from synfarm.queue.keys import Keys
from synfarm.queue.patience import Patience
from synfarm.queue.scripts import CLAIM, RELEASE, RENEW
from synfarm.telemetry import get_logger

__all__ = ["Interrupt", "Lease", "LeaseBook", "LeaseSettings", "UnitInterrupted"]

_log = get_logger(__name__)
_HOLDER = TypeAdapter(Holder)


class LeaseSettings(BaseSettings):
    """``SYNFARM_LEASE_*``."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_LEASE_", frozen=True, hide_input_in_errors=True)

    ttl_seconds: float = Field(default=30.0, gt=0)
    """A dead worker's unit is free this long after its last renewal; renewed every third of it."""


class Interrupt(StrEnum):
    """Why a unit in work must be let go."""

    LOST = "lease_lost"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    DRAINING = "draining"


class UnitInterrupted(Exception):
    """Raised by ``Lease.check()``; let it pass through ``work``."""

    def __init__(self, interrupt: Interrupt) -> None:
        super().__init__(interrupt.value)
        self.interrupt = interrupt


class Lease:
    """One worker's claim on one unit. Thread-safe. Without ``watch`` it is a lease that nothing interrupts."""

    def __init__(
        self,
        attempt: str,
        *,
        watch: Callable[[], Interrupt | None] | None = None,
        remaining: Callable[[], float] | None = None,
        poll_seconds: float = 1.0,
    ) -> None:
        self.attempt = attempt
        """ULID of this try; stands in the commit, so that a writer knows its own."""
        self._watch, self._remaining, self._poll = watch, remaining, poll_seconds
        self._progressed = time.monotonic()
        self._polled = float("-inf")
        self._lost = threading.Event()

    def progress(self) -> None:
        """Tell that work goes on; call after every piece (a request, a batch, an upload). Costs nothing."""
        self._progressed = time.monotonic()

    def step(self) -> None:
        """Both at once, for work in small steps: tell that it goes on, and hear whether it must stop.

        Raises:
            UnitInterrupted: as :meth:`check`.
        """
        self.progress()
        self.check()

    def check(self, *, drawn: bool = False) -> None:
        """Call each step or batch: Redis is asked at most once a second.

        Args:
            drawn: the dear part of the work is done, and only what makes it stand is left: a pause lets it stand.

        Raises:
            UnitInterrupted: another worker holds the unit, the job was paused, cancelled or deleted, or the grace
                period of a stopping worker is over. Let it pass.
        """
        if self.lost:
            raise UnitInterrupted(Interrupt.LOST)
        if self.remaining <= 0:
            raise UnitInterrupted(Interrupt.DRAINING)
        if self._watch is None or time.monotonic() - self._polled < self._poll:
            return
        interrupt = self._watch()
        # From the answer on: a Redis that is away answers after a second, and work must go on meanwhile.
        self._polled = time.monotonic()
        if interrupt is not None and not (drawn and interrupt is Interrupt.PAUSED):
            raise UnitInterrupted(interrupt)

    @property
    def lost(self) -> bool:
        """Another worker holds the unit. (A Redis that is away loses no lease: finish and commit.)"""
        return self._lost.is_set()

    @property
    def remaining(self) -> float:
        """Seconds until a stopping worker must hand back; infinite while nobody asked it to stop."""
        return float("inf") if self._remaining is None else self._remaining()

    @property
    def idle_seconds(self) -> float:
        """Since the last ``progress()``."""
        return time.monotonic() - self._progressed

    def mark_lost(self) -> None:
        """Called by the renewal: another worker holds the unit."""
        self._lost.set()


class LeaseBook:
    """The leases of one process and the thread that renews them."""

    def __init__(
        self, redis: Redis, keys: Keys, *, worker: str, settings: LeaseSettings, patience: Patience | None = None
    ) -> None:
        """``patience``: a lease whose work is silent for longer is no longer renewed: hung is as good as dead."""
        self._keys, self._worker, self._settings = keys, worker, settings
        self._patience = patience or Patience()
        self._ttl_ms = max(1, round(settings.ttl_seconds * 1000))
        self._claim = redis.register_script(CLAIM)
        self._renew = redis.register_script(RENEW)
        self._release = redis.register_script(RELEASE)
        self._held: dict[str, tuple[UnitTask, str, Lease]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def claim(
        self,
        task: UnitTask,
        *,
        watch: Callable[[], Interrupt | None] | None = None,
        remaining: Callable[[], float] | None = None,
    ) -> Lease | None:
        """Claim the task's unit; None if a living lease holds it or a newer message has replaced this one.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        attempt = str(ULID()).lower()
        holder = Holder(attempt, self._worker, task.stage, task.queue, task.sequence)
        value = _HOLDER.dump_json(holder).decode()
        keys = [self._lease_key(task), self._keys.sent(task.job), self._keys.claims(task.job), self._keys.claimed]
        args = [value, self._ttl_ms, task.unit, task.stage.value, task.queue, task.sequence]
        answer = int(self._claim(keys=keys, args=args))  # type: ignore[arg-type]
        if answer != 1:
            _log.debug("message_dropped", job=task.job, unit=task.unit, why="held" if answer == 0 else "superseded")
            return None
        lease = Lease(attempt, watch=watch, remaining=remaining)
        with self._lock:
            self._held[attempt] = (task, value, lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_renewing, name="lease-renewal", daemon=True)
                self._thread.start()
        return lease

    def release(self, lease: Lease, *, forget: bool = False) -> None:
        """Let the unit go, if this worker still owns it; again is no error. With ``forget`` it is sent again at once.

        Raises:
            redis.exceptions.RedisError: Redis is away; the lease will expire.
        """
        with self._lock:
            held = self._held.pop(lease.attempt, None)
        if held is None:
            return
        task, value, _ = held
        keys = [self._lease_key(task), self._keys.sent(task.job), self._keys.claims(task.job)]
        self._release(keys=keys, args=[value, task.unit, task.queue, task.sequence, int(forget)])

    def hand_back(self) -> int:
        """Let go of all that is still held, for others to take at once; how many. Their work learns that it lost them.

        Raises:
            redis.exceptions.RedisError: Redis is away; what is left of them will expire.
        """
        with self._lock:
            leases = [lease for _, _, lease in self._held.values()]
        for lease in leases:
            lease.mark_lost()
            self.release(lease, forget=True)
        return len(leases)

    def close(self) -> None:
        """End the renewal thread; leases that are still held expire."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _lease_key(self, task: UnitTask) -> str:
        return self._keys.lease(task.job, task.unit, task.stage.value)

    def _keep_renewing(self) -> None:
        while not self._stop.wait(self._settings.ttl_seconds / 3):
            with self._lock:
                held = list(self._held.values())
            for task, value, lease in held:
                if lease.lost or self._patience.is_over(lease.idle_seconds):
                    continue
                try:
                    self._renew_one(task, value, lease)
                except RedisError as error:
                    # Redis being away takes no unit from its worker: it finishes and commits.
                    _log.warning("lease_not_renewed", **_names(task, lease), error=str(error))
                    break

    def _renew_one(self, task: UnitTask, value: str, lease: Lease) -> None:
        keys = [self._lease_key(task), self._keys.claims(task.job)]
        answer = self._renew(keys=keys, args=[value, self._ttl_ms, task.unit])
        with self._lock:
            released = lease.attempt not in self._held
        if released:
            # Released while the script ran: it may just have taken the free lease again.
            self._release(
                keys=[keys[0], self._keys.sent(task.job), keys[1]],
                args=[value, task.unit, task.queue, task.sequence, 0],
            )
        elif int(answer) == 0:
            _log.warning("lease_lost", **_names(task, lease))
            lease.mark_lost()


def _names(task: UnitTask, lease: Lease) -> dict[str, str | int]:
    """What a line of the renewal's thread, which has no unit of its own, says of the unit."""
    return {"job": task.job, "unit": task.unit, "attempt": lease.attempt}
