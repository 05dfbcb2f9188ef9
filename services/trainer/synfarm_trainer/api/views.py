"""Answers about runs: computed from the store's records and, while a run lives, from its journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunEnded, RunSpec, RunState, StepMetrics
from synfarm.contracts.views import RunView
from synfarm_trainer.api.journal import JournalTail
from synfarm_trainer.api.live import Snapshot
from synfarm_trainer.api.records import RunRecords
from synfarm_trainer.api.runner import Runner
from synfarm_trainer.collapse import warnings_of
from synfarm_trainer.launch.files import RunFiles

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
    files: RunFiles

    def view(self, spec: RunSpec) -> RunView:
        """The run now."""
        live = self.runner.live(spec.run)
        ended = None
        if live is None:
            ended = self.records.ended(spec.run)
        now = live.now if live is not None else self._from_store(spec.run, ended)
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
            evals=now.evals,
            devices=now.devices,
            queue_position=self.runner.queue_position(spec.run) if now.state is RunState.QUEUED else None,
            as_of=utc_now(),
        )

    def _from_store(self, run: str, ended: RunEnded | None) -> Snapshot:
        attempts = self.records.attempts(run)
        attempt = self.records.attempt(run, attempts[-1]) if attempts else None
        last = self.records.last_metrics(run)
        if ended is not None:
            state = ended.state
        else:
            state = RunState.STOPPING if self.records.is_stopped(run) else RunState.QUEUED
        return Snapshot(
            state=state,
            step=ended.step if ended is not None else (last.step if last else 0),
            epoch=last.epoch if last else 0.0,
            losses=dict(last.losses) if last else {},
            images_per_second=last.images_per_second if last else None,
            tflops_per_second=last.tflops_per_second if last else None,
            mfu=last.mfu if last else None,
            mfu_achievable=last.mfu_achievable if last else None,
            warnings=warnings_of(last.monitors) if last else (),
            data_wait_share=min(1.0, last.data_wait_seconds / last.seconds) if last and last.seconds else None,
            refilled=last.refilled if last else 0,
            attempt=attempt.number if attempt else None,
            resumed_step=attempt.resumed_step if attempt else None,
            last_checkpoint=self.records.checkpoint_step(run),
            evals=ended.evals if ended is not None else self.records.evals(run),
            reason=ended.reason if ended is not None else None,
        )

    def metrics(self, run: str, since: int, limit: int) -> list[StepMetrics]:
        """One line a step, after step ``since``, in order: a later attempt's steps replace those it went back behind.

        The local journal is ahead of what has been uploaded; the store knows what other machines did.
        """
        steps: dict[int, StepMetrics] = {}
        for number in self.records.attempts(run):
            attempt = self.records.attempt(run, number)
            if attempt is None:
                continue
            steps = {step: line for step, line in steps.items() if step <= attempt.resumed_step}
            journal = self.files.journal(run, number)
            if journal.exists():
                lines = (line for line in JournalTail(journal).read() if line.type == "step")
                found = [StepMetrics.model_validate(line.data) for line in lines]
            else:
                found = list(self.records.metrics(run, number))
            steps.update((line.step, line) for line in found)
        return [steps[step] for step in sorted(steps) if step > since][:limit]
