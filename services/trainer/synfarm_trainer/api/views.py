"""Answers about runs: computed from the store's records and, while a run lives here, from its journal.

Of a run that nobody follows here (its machine is dead, or another replica has it) the store tells what was known last,
and ``as_of`` when that was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunEnded, RunSpec, RunState, StepMetrics
from synfarm.contracts.views import RunView
from synfarm_trainer.api.curve import RunCurve
from synfarm_trainer.api.live import Snapshot
from synfarm_trainer.api.newest_weights import NewestWeights
from synfarm_trainer.api.records import RunRecords
from synfarm_trainer.api.runner import Runner
from synfarm_trainer.collapse import warnings_of
from synfarm_trainer.trainer_status import trainer_status

__all__ = ["RunViews", "total_steps"]


def total_steps(config: dict[str, JsonValue]) -> int:
    """Optimiser steps of a resolved configuration."""
    schedule: Any = config["schedule"]
    return int(schedule["steps"])


@dataclass(frozen=True, slots=True)
class RunViews:
    """Reads only. Any method may raise StoreUnavailable."""

    records: RunRecords
    runner: Runner
    curve: RunCurve
    weights: NewestWeights

    def view(self, spec: RunSpec) -> RunView:
        """The run now."""
        live = self.runner.live(spec.run)
        if live is not None:
            now, as_of = live.now, utc_now()
        else:
            now, as_of = self._from_store(spec, self.records.ended(spec.run))
        total = total_steps(spec.config)
        # Between the last step and the record of the end the run still evaluates and exports.
        seconds = now.seconds_per_step
        eta = (total - now.step) * seconds if seconds is not None and not now.state.is_final else None
        return RunView(
            run=spec.run,
            name=spec.name,
            owner=spec.owner,
            preset=spec.preset,
            state=now.state,
            reason=now.reason,
            created_at=spec.created_at,
            datasets=spec.datasets,
            weights=self.weights.of(spec),
            step=now.step,
            total_steps=total,
            epoch=now.epoch,
            percent=round(100 * min(1.0, now.step / total), 3),
            eta_seconds=eta,
            images_per_second=now.images_per_second,
            tflops_per_second=now.tflops_per_second,
            mfu=now.mfu,
            mfu_achievable=now.mfu_achievable,
            warnings=now.warnings,
            losses=now.losses,
            data_wait_share=now.data_wait_share,
            refilled=now.refilled,
            attempt=now.attempt,
            resumed_step=now.resumed_step,
            last_checkpoint=now.last_checkpoint,
            checkpoint=now.checkpoint,
            evals=now.evals,
            devices=now.devices,
            queue_position=self.runner.queue_position(spec.run) if now.state is RunState.QUEUED else None,
            trainerStatus=trainer_status(
                step=now.step,
                total=total,
                epoch=now.epoch,
                losses=now.losses,
                images_per_second=now.images_per_second,
                remaining_seconds=eta,
                evals=now.evals,
                at=as_of,
            ),
            as_of=as_of,
        )

    def _from_store(self, spec: RunSpec, ended: RunEnded | None) -> tuple[Snapshot, datetime]:
        """What was known last, and when."""
        run = spec.run
        attempts = self.records.attempts(run)
        attempt = self.records.attempt(run, attempts[-1]) if attempts else None
        of, last = self.curve.last(run, attempts) or (None, None)
        step = last.step if last else 0
        if attempt is not None and of != attempt.number:
            step = attempt.resumed_step
        state = RunState.STARTING if attempt is not None else RunState.QUEUED
        newest = self.records.last_checkpoint(run)
        if ended is not None:
            state, step = ended.state, ended.step
        elif self.records.is_stopped(run):
            state = RunState.STOPPING
        elif attempt is not None and of == attempt.number:
            state = RunState.RUNNING
        times = [spec.created_at]
        times += [attempt.started_at] if attempt else []
        times += [last.at] if last else []
        times += [ended.ended_at] if ended else []
        snapshot = Snapshot(
            state=state,
            step=step,
            epoch=last.epoch if last else 0.0,
            losses=dict(last.losses) if last else {},
            images_per_second=last.images_per_second if last else None,
            tflops_per_second=last.tflops_per_second if last else None,
            mfu=last.mfu if last else None,
            mfu_achievable=last.mfu_achievable if last else None,
            warnings=warnings_of(last.monitors) if last else (),
            seconds_per_step=last.seconds if last else None,
            data_wait_share=min(1.0, last.data_wait_seconds / last.seconds) if last and last.seconds else None,
            refilled=last.refilled if last else 0,
            attempt=attempt.number if attempt else None,
            resumed_step=attempt.resumed_step if attempt else None,
            last_checkpoint=newest.step if newest else None,
            checkpoint=newest.facts if newest else None,
            evals=ended.evals if ended is not None else self.records.evals(run),
            reason=ended.reason if ended is not None else None,
        )
        return snapshot, max(times)

    def metrics(self, run: str, since: int, limit: int) -> list[StepMetrics]:
        """In order, one line a step after ``since``: a later attempt replaces what it went back behind."""
        return self.curve.page(run, since, limit)
