"""One run of a simulated farm by discrete events: a pure function of the farm and a seed.

What is drawn (a unit's time, its faults, when a worker is lost) is keyed by what it is about and not by when it is
asked for, so that a change of one thing leaves the luck of all others as it is.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from enum import IntEnum

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of, uniform
from synfarm.planning.simulation.farm import Loss, Outage, Outcome, SimulatedFarm

__all__ = ["simulate"]


class _Chance(IntEnum):
    """What is drawn for."""

    TIME = 0
    FAULT = 1
    LOSS = 2
    LEASE = 3


class _Worker:
    """A place for a render worker; its occupants change."""

    __slots__ = ("absent", "began", "clock", "finishing", "life", "number", "since", "unit")

    def __init__(self, number: int) -> None:
        self.number = number
        self.life = 0
        """Of the occupant: what was planned for an earlier one does not happen."""
        self.clock = 0
        """Of its occupant's loss: one that came back has a new one."""
        self.unit: int | None = None
        self.began = 0.0
        self.since = 0.0
        """Idle from then on."""
        self.absent = False
        self.finishing: dict[int, float] = {}
        """Units that need the worker still, though not its device, and when they were begun."""


def simulate(farm: SimulatedFarm, seed: int) -> Outcome:
    """Run the job to its end."""
    return _Run(farm, seed).outcome()


class _Run:
    def __init__(self, farm: SimulatedFarm, seed: int) -> None:
        self._farm, self._key = farm, key_of(seed, Purpose.SIMULATE)
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._workers = [_Worker(number) for number in range(farm.render_workers)]
        self._idle = deque(self._workers)
        self._captions: deque[int] = deque()
        self._slots = farm.caption_slots
        self._ready: deque[int] = deque()
        self._frontier = self._in_flight = self._seen = 0
        self._again: list[int] = []
        self._pass_at: float | None = None
        self._begun: dict[int, int] = {}
        self._faults: dict[int, int] = {}
        self._committed = bytearray(farm.units)
        self._done = self._dead = self._sends = self._lost_workers = 0
        self._lost = self._most_lost = self._idle_seconds = 0.0
        self._store = sorted((o for o in farm.outages if o.of == "store"), key=lambda o: o.at)
        self._redis = sorted((o for o in farm.outages if o.of == "redis"), key=lambda o: o.at)

    def outcome(self) -> Outcome:
        farm = self._farm
        for worker in self._workers:
            self._plan_loss(worker)
        for loss in farm.losses:
            self._at(loss.at, lambda known=loss: self._strike(known))  # type: ignore[misc]
        for outage in self._redis:
            self._at(outage.at, lambda o=outage: self._redis_goes(o))  # type: ignore[misc]
        self._ask_for_pass(0.0)
        while self._seen < farm.units:
            self._now, _, act = heapq.heappop(self._events)
            act()
        return Outcome(
            seconds=self._now,
            committed=self._done,
            dead=self._dead,
            sends=self._sends,
            lost_workers=self._lost_workers,
            lost_seconds=self._lost,
            most_lost=self._most_lost,
            idle_seconds=self._idle_seconds + sum(self._now - worker.since for worker in self._idle),
        )

    # The feeder.

    def _ask_for_pass(self, when: float) -> None:
        """Passes stand on a grid; those that would find nothing are left out."""
        step = self._farm.pass_seconds
        at = math.ceil(round(when / step, 9)) * step
        if (away := _during(self._redis, at)) is not None:
            at = math.ceil(away.end / step) * step
        if self._pass_at is None or at < self._pass_at:
            self._pass_at = at
            self._at(at, lambda: self._pass(at))

    def _pass(self, planned: float) -> None:
        if self._pass_at != planned:
            return  # an earlier one has taken its place
        self._pass_at = None
        ended = self._done + self._dead
        self._in_flight -= ended - self._seen
        self._seen = ended
        self._ready.extend(self._again)
        self._again.clear()
        while self._in_flight < self._farm.window and self._frontier < self._farm.units:
            self._captions.append(self._frontier)
            self._frontier += 1
            self._in_flight += 1
        self._caption()
        self._dispatch()

    # Captions.

    def _caption(self) -> None:
        while self._captions and self._slots:
            unit = self._captions.popleft()
            self._slots -= 1
            self._at(self._now + self._farm.caption_seconds, lambda u=unit: self._captioned(u))  # type: ignore[misc]

    def _captioned(self, unit: int) -> None:
        if (away := _during(self._redis, self._now) or _during(self._store, self._now)) is not None:
            self._at(away.end, lambda: self._captioned(unit))
            return
        self._slots += 1
        self._ready.append(unit)
        self._caption()
        self._dispatch()

    # Render workers.

    def _dispatch(self) -> None:
        if _during(self._redis, self._now) is not None:
            return  # the end of the outage dispatches
        while self._ready and self._idle:
            worker, unit = self._idle.popleft(), self._ready.popleft()
            self._idle_seconds += self._now - worker.since
            self._begin(worker, unit)

    def _begin(self, worker: _Worker, unit: int) -> None:
        farm, attempt = self._farm, self._begun.get(unit, 0)
        self._begun[unit] = attempt + 1
        self._sends += 1
        away = _during(self._store, self._now)
        worker.unit, worker.began = unit, self._now if away is None else away.end
        chance = self._chance(_Chance.TIME, unit, attempt)
        seconds = farm.render_seconds * (1 + farm.render_spread * (2 * chance - 1))
        self._at_life(worker, worker.began + seconds, lambda: self._drawn(worker, unit, attempt))

    def _drawn(self, worker: _Worker, unit: int, attempt: int) -> None:
        farm, began = self._farm, worker.began
        worker.unit = None
        if self._chance(_Chance.FAULT, unit, attempt) < farm.fault_rate:
            self._fault(unit, self._now - began)
        else:
            worker.finishing[unit] = began
            self._at_life(worker, self._now + farm.finish_seconds, lambda: self._finished(worker, unit))
        self._free(worker)

    def _fault(self, unit: int, seconds: float) -> None:
        self._lose(seconds)
        self._faults[unit] = self._faults.get(unit, 0) + 1
        if self._faults[unit] < self._farm.tries:
            self._again.append(unit)
        else:
            self._dead += 1
        self._ask_for_pass(self._now)

    def _finished(self, worker: _Worker, unit: int) -> None:
        away = _during(self._store, self._now)
        if away is not None and away.end - self._now <= self._farm.store_patience:
            self._at_life(worker, away.end, lambda: self._finished(worker, unit))
            return
        began = worker.finishing.pop(unit)
        if away is not None:
            self._lose(self._now - began)
            self._at(away.end, lambda: self._send_again(unit))
            return
        if self._committed[unit]:
            raise AssertionError(f"unit {unit} is committed twice")
        self._committed[unit] = 1
        self._done += 1
        self._ask_for_pass(self._now)

    def _free(self, worker: _Worker) -> None:
        """It has no unit any more. One that meets a Redis that is away ends, and starts again when it is back."""
        away = _during(self._redis, self._now)
        if away is not None:
            self._leave(worker, away.end + self._farm.restart_seconds)
            return
        worker.since = self._now
        self._idle.append(worker)
        self._dispatch()

    def _leave(self, worker: _Worker, until: float) -> None:
        worker.absent = True
        self._at(until, lambda: self._come(worker))

    def _come(self, worker: _Worker) -> None:
        worker.absent = False
        self._plan_loss(worker)
        self._free(worker)

    # What goes wrong.

    def _plan_loss(self, worker: _Worker) -> None:
        rate = self._farm.preemptions_per_hour / 3600
        if not rate:
            return
        worker.clock += 1
        clock, chance = worker.clock, self._chance(_Chance.LOSS, worker.number, worker.clock)

        def strikes() -> None:
            if worker.clock == clock and not worker.absent:
                self._lose_worker(worker)

        self._at(self._now - math.log(1 - chance) / rate, strikes)

    def _strike(self, loss: Loss) -> None:
        worker = self._workers[loss.worker]
        if not worker.absent:
            self._lose_worker(worker, loss.seconds)

    def _lose_worker(self, worker: _Worker, seconds: float | None = None) -> None:
        farm = self._farm
        self._lost_workers += 1
        units = {**worker.finishing, **({} if worker.unit is None else {worker.unit: worker.began})}
        if worker.unit is None:
            self._idle.remove(worker)
            self._idle_seconds += self._now - worker.since
        worker.finishing.clear()
        worker.unit = None
        worker.life += 1
        for unit, began in units.items():
            self._lose(max(0.0, self._now - began))
            thirds = 2 + self._chance(_Chance.LEASE, unit, self._begun[unit])
            wait = 0.0 if farm.notice else farm.lease_seconds * thirds / 3
            self._at(self._now + wait, lambda u=unit: self._send_again(u))  # type: ignore[misc]
        self._leave(worker, self._now + (farm.restart_seconds if seconds is None else seconds))

    def _send_again(self, unit: int) -> None:
        self._again.append(unit)
        self._ask_for_pass(self._now)

    def _redis_goes(self, outage: Outage) -> None:
        while self._idle:
            worker = self._idle.popleft()
            self._idle_seconds += self._now - worker.since
            # The same life: what it is finishing is committed before it ends.
            self._leave(worker, outage.end + self._farm.restart_seconds)
        self._ask_for_pass(outage.end)

    # Means.

    def _chance(self, what: _Chance, *ids: int) -> float:
        drawn: float = uniform(bits(self._key, int(what), *ids))
        return drawn

    def _lose(self, seconds: float) -> None:
        self._lost += seconds
        self._most_lost = max(self._most_lost, seconds)

    def _at(self, when: float, act: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, act))

    def _at_life(self, worker: _Worker, when: float, act: Callable[[], None]) -> None:
        """Unless the worker is lost before."""
        life = worker.life

        def still() -> None:
            if worker.life == life:
                act()

        self._at(when, still)


def _during(outages: list[Outage], now: float) -> Outage | None:
    """The one that covers ``now``; its end is no part of it."""
    if not outages:
        return None
    place = bisect_right(outages, now, key=lambda outage: outage.at) - 1
    return outages[place] if place >= 0 and now < outages[place].end else None
