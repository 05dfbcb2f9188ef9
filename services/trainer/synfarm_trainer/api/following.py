"""Folding what a start tells into the live picture of its run, until the start has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from pydantic import JsonValue

from synfarm.contracts.events import EventType
from synfarm.contracts.runs import RunEnded
from synfarm_trainer.api.journal import JournalLine
from synfarm_trainer.api.live import LiveRun
from synfarm_trainer.api.stream import EventHub

__all__ = ["Narrator", "OpenTail", "Tail", "tell_ended"]


class Tail(Protocol):
    """Where the news of one start come from."""

    def read(self, *, last: bool = False) -> Sequence[JournalLine]:
        """What has come since the last call; never waits for more. ``last``: the start has ended, nothing comes after
        this call."""


class Narrator:
    """Turns news of one run into its live numbers and its events."""

    def __init__(self, run: str, live: LiveRun, hub: EventHub, step_events: float) -> None:
        """``step_events``: least distance in seconds of two ``step`` events."""
        self._run, self._live, self._hub, self._distance = run, live, hub, step_events
        self._told, self._step = 0.0, live.now.step

    def fold(self, tail: Tail, *, last: bool) -> None:
        """Take in what has come; ``last`` tells the step in any case."""
        for line in tail.read(last=last):
            self._live.fold(line)
            if line.type in {"checkpoint", "eval", "segment"}:
                self._hub.log(self._run).publish(EventType(line.type), line.data)
        now = self._live.now
        if now.step == self._step or not (last or time.monotonic() - self._told >= self._distance):
            return
        if self._told == 0.0:
            self.tell()
        self._hub.log(self._run).publish(EventType.STEP, _step_data(now.step, self._live))
        self._told, self._step = time.monotonic(), now.step

    def begin(self) -> None:
        """A new start: its first step is told with the state."""
        self._told, self._step = 0.0, self._live.now.step

    def tell(self) -> None:
        """An event with the state."""
        now = self._live.now
        data: dict[str, JsonValue] = {
            "state": now.state.value,
            "attempt": now.attempt,
            "resumed_step": now.resumed_step,
            "step": now.step,
        }
        self._hub.log(self._run).publish(EventType.STATE, data)


def tell_ended(hub: EventHub, record: RunEnded) -> None:
    """The last event of a run's stream."""
    data: dict[str, JsonValue] = {"state": record.state.value, "reason": record.reason, "step": record.step}
    hub.log(record.run).publish(EventType.STATE, data, last=True)


OpenTail = Callable[[str, int], Tail]
"""(run, attempt) to the news of that start."""


def _step_data(step: int, live: LiveRun) -> dict[str, JsonValue]:
    now = live.now
    return {
        "step": step,
        "epoch": now.epoch,
        "losses": dict(now.losses),
        "images_per_second": now.images_per_second,
        "tflops_per_second": now.tflops_per_second,
        "mfu": now.mfu,
        "mfu_achievable": now.mfu_achievable,
        "seconds_per_step": now.seconds_per_step,
        "data_wait_share": now.data_wait_share,
        "refilled": now.refilled,
    }
