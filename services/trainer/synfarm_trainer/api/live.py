"""The numbers of a run as its journal tells them: position, rates over a window, last losses."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import JsonValue, ValidationError

from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import CheckpointFacts, RunState, StepMetrics
from synfarm.telemetry import get_logger
from synfarm_trainer.api.journal import JournalLine
from synfarm_trainer.collapse import warnings_of

__all__ = ["LiveRun", "Snapshot"]

_log = get_logger(__name__)
WINDOW = 50
"""Steps over which rates are taken."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment."""

    state: RunState
    step: int = 0
    """Optimiser steps taken."""
    epoch: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    images_per_second: float | None = None
    tflops_per_second: float | None = None
    mfu: float | None = None
    mfu_achievable: float | None = None
    warnings: tuple[str, ...] = ()
    """Of the last step's monitors."""
    monitors: dict[str, float] = field(default_factory=dict)
    reading: dict[str, float] = field(default_factory=dict)
    """``StepMetrics.reading`` of the last step."""
    seconds_by_part: dict[str, float] = field(default_factory=dict)
    """Of all steps since this service follows the run: ``StepMetrics.split``, ``checkpoint`` taken out of ``between``,
    ``other`` for the rest."""
    images: float = 0.0
    """Trained on in those steps."""
    seconds_per_step: float | None = None
    data_wait_share: float | None = None
    refilled: int = 0
    attempt: int | None = None
    resumed_step: int | None = None
    last_checkpoint: int | None = None
    checkpoint: CheckpointFacts | None = None
    evals: dict[str, JsonValue] = field(default_factory=dict)
    reason: str | None = None
    devices: str | None = None
    """Of the set that it has."""
    progress_at: datetime = field(default_factory=utc_now)


class LiveRun:
    """Written by the thread that follows the run, read by every request."""

    def __init__(self, state: RunState = RunState.QUEUED) -> None:
        self._lock = threading.Lock()
        self._now = Snapshot(state)
        self._window: deque[StepMetrics] = deque(maxlen=WINDOW)
        self._parts: dict[str, float] = {}
        self.stop_asked = threading.Event()

    def ask_to_stop(self) -> None:
        """A user asked for its end."""
        self.change(state=RunState.STOPPING)
        self.stop_asked.set()

    @property
    def now(self) -> Snapshot:
        with self._lock:
            return self._now

    def change(self, **changes: object) -> Snapshot:
        """Set fields of the snapshot."""
        with self._lock:
            self._now = replace(self._now, progress_at=utc_now(), **changes)  # type: ignore[arg-type]
            return self._now

    def begin(
        self,
        attempt: int,
        resumed_step: int,
        evals: dict[str, JsonValue],
        checkpoint: CheckpointFacts | None = None,
    ) -> None:
        """A new start: it goes on from its checkpoint, so the steps lost behind it are not shown as done."""
        self._window.clear()
        self.change(
            state=RunState.STOPPING if self.stop_asked.is_set() else RunState.STARTING,
            attempt=attempt,
            resumed_step=resumed_step,
            step=resumed_step,
            last_checkpoint=resumed_step or None,
            checkpoint=checkpoint,
            evals=evals,
            reason=None,
        )

    def fold(self, line: JournalLine) -> None:
        """Take in one line of the journal."""
        if line.type == "step":
            try:
                self._step(StepMetrics.model_validate(line.data))
            except ValidationError as error:
                _log.warning("journal_step_malformed", error=str(error)[:300])
        elif line.type == "checkpoint" and isinstance(step := line.data.get("step"), int):
            self.change(last_checkpoint=step, checkpoint=_facts(line))
        elif line.type == "state" and isinstance(step := line.data.get("resumed_step"), int):
            # The rank's word stands: it may have passed over a checkpoint that was not whole.
            attempt = line.data.get("attempt")
            self.change(resumed_step=step, step=step)
            if isinstance(attempt, int):
                # The cluster has replaced its ranks, which opened one of their own.
                self.change(attempt=attempt)
        elif line.type == "eval":
            step = line.data.get("step")
            name = line.data.get("name")
            at, called = str(step if isinstance(step, int) else self.now.step), str(name or "knn")
            known = self.now.evals.get(at)
            self.change(evals={**self.now.evals, at: {**(known if isinstance(known, dict) else {}), called: line.data}})

    def _step(self, metrics: StepMetrics) -> None:
        self._window.append(metrics)
        seconds = sum(m.seconds for m in self._window)
        wait = sum(m.data_wait_seconds for m in self._window)
        state = self.now.state
        other = max(0.0, metrics.seconds - sum(metrics.split.values()))
        spent_on = {**metrics.split, "checkpoint": metrics.checkpoint_seconds, "other": other}
        if "between" in metrics.split:  # what it is part of
            spent_on["between"] = max(0.0, metrics.split["between"] - metrics.checkpoint_seconds)
        for part, spent in spent_on.items():
            self._parts[part] = self._parts.get(part, 0.0) + spent
        self.change(
            state=RunState.RUNNING if state is RunState.STARTING else state,
            step=metrics.step,
            epoch=metrics.epoch,
            losses=dict(metrics.losses),
            seconds_per_step=seconds / len(self._window),
            images_per_second=sum(m.images_per_second for m in self._window) / len(self._window),
            tflops_per_second=_mean([m.tflops_per_second for m in self._window]),
            mfu=_mean([m.mfu for m in self._window]),
            mfu_achievable=_mean([m.mfu_achievable for m in self._window]),
            warnings=warnings_of(metrics.monitors),
            monitors=dict(metrics.monitors),
            reading=dict(metrics.reading),
            seconds_by_part=dict(self._parts),
            images=self.now.images + metrics.images_per_second * metrics.seconds,
            data_wait_share=min(1.0, wait / seconds) if seconds > 0 else None,
            refilled=metrics.refilled,
        )


def _facts(line: JournalLine) -> CheckpointFacts | None:
    try:
        return CheckpointFacts.model_validate(line.data)
    except ValidationError:  # of a start whose code told less
        return None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
