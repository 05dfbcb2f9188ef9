"""One start of one rank: from the frozen spec to the exit record, wired here and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synfarm.contracts import layout
from synfarm.contracts.runs import CheckpointCommit, RunAttempt, RunSpec, StepMetrics
from synfarm.contracts.segments import RunSegment
from synfarm.faults import Faults
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger
from synfarm_trainer.autocast import compute_in_bfloat16
from synfarm_trainer.checkpoint import CheckpointStore, Keep, Saver
from synfarm_trainer.collapse import CollapseState, warnings_of
from synfarm_trainer.config import TrainConfig, from_dict
from synfarm_trainer.data.cache.opening import open_cache
from synfarm_trainer.data.fetch import DatasetDamaged
from synfarm_trainer.data.loader import Loader
from synfarm_trainer.device import Place, choose_place, prepare_torch
from synfarm_trainer.evaluation import Evaluation, generators_kept, look_at
from synfarm_trainer.export import export_backbone
from synfarm_trainer.flops import step_flops
from synfarm_trainer.guard import check_state
from synfarm_trainer.initial import begin_from
from synfarm_trainer.journal import Journal, MetricsUploader, leave_exit_record
from synfarm_trainer.loop import StepOutcome, Trainer
from synfarm_trainer.models.block_passes import BlockPasses
from synfarm_trainer.models.vit import run_blocks
from synfarm_trainer.objectives.protocol import evaluated_network
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.optim import build_optimizer
from synfarm_trainer.parallel import parallelize
from synfarm_trainer.patience import patiently
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.run_data import open_data
from synfarm_trainer.segment_records import told_of
from synfarm_trainer.shares import share_of
from synfarm_trainer.sinks.fan_out import Sinks
from synfarm_trainer.sinks.protocol import RunOpening
from synfarm_trainer.speed import Speed, peak_of
from synfarm_trainer.state import alarms_in, counters, restore, state_tensors

__all__ = ["Session", "Start"]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """Which run, which start of it, and where its local files lie."""

    run: str
    attempt: int
    state_dir: Path
    cache_dir: Path | None = None
    """Of shards; None: in the state folder."""

    @property
    def shards(self) -> Path:
        return self.cache_dir or self.state_dir / "shards"

    @property
    def folder(self) -> Path:
        return self.state_dir / "runs" / self.run

    def leave(self, reason: str, detail: str | None, step: int) -> None:
        leave_exit_record(self.folder / f"exit-{self.attempt:06d}.json", reason, detail, step)


class Session:
    """Built by ``run.py``; :meth:`train` runs to the end, to a stop, or to an error."""

    def __init__(
        self,
        store: ObjectStore,
        start: Start,
        ranks: Ranks,
        faults: Faults,
        stop_asked: Callable[[], bool],
        sinks: Sinks | None = None,
        *,
        sets: Path | None = None,
    ) -> None:
        """Read the spec and data, build everything, load the newest whole checkpoint.

        Args:
            sets: folder of the labelled sets of this machine.

        Raises:
            ValueError, DatasetInvalid, StoreError: the run cannot begin; the message names the field.
        """
        self._store, self._start, self._ranks, self._sinks = store, start, ranks, sinks
        self.spec = RunSpec.from_bytes(patiently(store.get, layout.run(start.run)))
        self.config: TrainConfig = from_dict(self.spec.config)
        attempt = RunAttempt.from_bytes(patiently(store.get, layout.attempt(start.run, start.attempt)))
        config = self.config
        place = choose_place(config.execution)
        prepare_torch(config.execution, place)
        self._data = open_data(store, self.spec, config, attempt, ranks)
        self._dataset, self._plan = self._data.dataset, self._data.plan
        self._plan.rank_slice(ranks.rank, ranks.world)
        self._objective = build_objective(config, self.spec.seed, concepts=len(self._dataset.concepts))
        self._passes = BlockPasses(
            recompute=config.execution.recompute == "blocks",
            backend="inductor" if config.execution.compile == "blocks" else None,
        )
        run_blocks(self._passes, self._objective.student, self._objective.teacher)
        self._told_failure = False
        self._settle(place)
        self._optimizer = build_optimizer(self._objective.student, config.optim)
        self._checkpoints = CheckpointStore(store, start.run, start.attempt, attempt.token, faults.reach)
        self._begun_from: dict[str, Any] | None = None
        self.step, refilled, alarms = self._resume()
        streams = max(1, len(self.spec.weights))
        self._cache = open_cache(store, config.data, start.shards, self._dataset, world=ranks.world, streams=streams)
        labelled = look_at(config, sets, ranks)
        self._evaluation = Evaluation(
            store, start.run, config, self._dataset, self._plan, self._cache, ranks=ranks, labelled=labelled
        )
        self._loader = Loader(self._dataset, self._plan, self._cache, config, rank=ranks.rank, world=ranks.world)
        peak = peak_of(config.execution, place.device)
        self._trainer = Trainer(
            config,
            self._objective,
            self._optimizer,
            self._loader,
            parallelize(self._objective.student, ranks, config.execution),
            passes=lambda step: self._plan.passes(step),
            refilled=refilled,
            speed=Speed(step_flops(config, self._objective), ranks.world, peak),
            reach=lambda step: faults.reach("train.step", unit=step),
            stop_asked=stop_asked,
        )
        self._trainer.collapse.go_on_from(alarms)
        self._saver = Saver(self._checkpoints, ranks, Keep(config.checkpoint.keep_last, config.checkpoint.keep_every))
        self._checkpoint_told: dict[str, float] = {}
        self._warned: set[str] = set()
        self._journal: Journal | None = None
        self._metrics: MetricsUploader | None = None
        if ranks.is_first:
            self._journal = Journal(start.folder / f"journal-{start.attempt:06d}.jsonl")
            self._metrics = MetricsUploader(store, start.run, start.attempt)

    def _settle(self, place: Place) -> None:
        """Networks go to their device before the optimiser takes hold of their parameters."""
        for network in (self._objective.student, self._objective.teacher):
            if network is not None:
                network.to(place.device)
                if place.half:
                    compute_in_bfloat16(network, place.device)

    def _resume(self) -> tuple[int, int, CollapseState]:
        """(step, samples refilled, how long alarms have lasted); all ranks go on from the same checkpoint."""
        found = self._checkpoints.newest(self._ranks)
        if found is None:
            source = self.config.model.init_from
            self._begun_from = begin_from(source, self._objective, self._store, self._ranks)
            return 0, 0, CollapseState()
        attempt, step, files = found
        refilled = restore(self._objective, self._optimizer, files)
        _log.info("resumed", run=self._start.run, step=step, of_attempt=attempt, attempt=self._start.attempt)
        return step, refilled, alarms_in(files)

    def train(self) -> str:
        """Run on; ``completed`` or ``stopped``.

        Raises:
            NonFinite, DatasetDamaged, Fenced, StoreError: the run cannot go on.
        """
        config, first = self.config, self.step
        if self._sinks is not None:
            self._sinks.begin(RunOpening(self.spec, self._start.attempt, first, config.schedule.steps))
        used = {"captions": len(self._dataset.rows), "left_out": self._dataset.left_out}
        begun = {"state": "running", "step": first, "resumed_step": first, "steps": config.schedule.steps}
        self._tell("state", {**begun, "data": used})
        if (segment := self._data.opened) is not None:
            self._tell_segment(segment)
        if self._begun_from is not None:
            self._tell("state", {"state": "running", "step": first, "begun_from": self._begun_from})
        if first == 0 or (self._evaluation.due(first) and not self._evaluation.recorded(first)):
            self._evaluate()
        stopped = False
        for outcome in self._outcomes(first):
            self.step = outcome.metrics.step
            self._record(outcome)
            self._announce(self._saver.poll())
            stopped = outcome.stop and self.step < config.schedule.steps
            if self.step % config.checkpoint.every_steps == 0 or stopped or self.step == config.schedule.steps:
                self._save()
            if self._evaluation.due(self.step) and not stopped:
                self._pause_to_evaluate()
        self._announce(self._saver.drain())
        if stopped:
            # All at once: the first word of it on a machine ends those that still upload there.
            self._ranks.gather(torch.zeros(1))
        reason = "stopped" if stopped else "completed"
        if not stopped:
            # The network first: evaluations read images, which may have been damaged since the run began.
            if self._ranks.is_first:
                network = evaluated_network(self._objective)
                export_backbone(
                    self._store, self._start.run, self.step, self._objective.backbone, config, network=network
                )
            self._evaluate()
            self._draw_patches()
        self._tell("state", {"state": reason, "step": self.step})
        return reason

    def _outcomes(self, first: int) -> Iterator[StepOutcome]:
        """Every step from ``first`` on; between them, data that has come is taken in."""
        step, steps = first, self.config.schedule.steps
        while step < steps:
            until = self._data.next_look(step)
            for outcome in self._trainer.run(step, until):
                yield outcome
                if outcome.stop:
                    return
            step = until
            if step < steps and (segment := self._data.look()) is not None:
                self._dataset.close()
                self._dataset, self._plan = self._data.dataset, self._data.plan
                self._loader.go_on_with(self._dataset, self._plan)
                self._evaluation = self._evaluation.go_on_with(self._dataset, self._plan)
                self._tell_segment(segment)

    def _tell_segment(self, segment: RunSegment) -> None:
        step = segment.position // self.config.data.captions_per_batch
        self._tell("segment", {"step": step, "captions": len(self._dataset.rows), **told_of(segment)})

    def flush(self, seconds: float) -> None:
        """Upload what the last steps told, on the way out of a failure; not waited for any longer than that."""
        if self._metrics is not None:
            self._metrics.close(seconds)

    def close(self) -> None:
        """Let go of threads and files; what has not been uploaded is given half a minute."""
        self._dataset.close()
        self._loader.close()
        self._saver.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._journal is not None:
            self._journal.close()

    def _tell(self, kind: Any, data: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write(kind, data)
        if self._sinks is not None:
            self._sinks.write(kind, data)

    def _record(self, outcome: StepOutcome) -> None:
        if self._metrics is not None:
            metrics = outcome.metrics.model_copy(update=self._checkpoint_told)
            self._checkpoint_told = {}
            if self.config.execution.compile == "blocks":
                monitors = {**metrics.monitors, "compiled_graphs": float(self._passes.graphs)}
                metrics = metrics.model_copy(update={"monitors": monitors})
            self._tell("step", metrics.model_dump(mode="json"))
            self._metrics.add(metrics)
            self._warn(metrics)
        for sink, fault in (self._sinks.news() if self._sinks is not None else {}).items():
            self._tell("state", {"state": "running", "step": self.step, "sink_off": {"sink": sink, "why": fault}})
        if (failure := self._passes.failure) is not None and not self._told_failure:
            self._told_failure = True
            self._tell("state", {"state": "running", "step": self.step, "compile_failed": failure})
        for row, wanted, taken in outcome.refills:
            caption = self._dataset.rows[row].caption_id
            shard = self._dataset.shards[self._dataset.shard_of[row]].key
            refill = {"caption_id": caption, "image": wanted, "taken": taken, "shard": shard}
            self._tell("state", {"state": "running", "step": self.step, "refilled": refill})
        data, refilled = self.config.data, self._trainer.refilled
        samples = self.step * data.captions_per_batch * data.views
        if refilled > max(data.refill_allowance, data.max_refill_rate * samples):
            raise DatasetDamaged(
                f"{refilled} of {samples} samples were replaced because of damage at rest, more than "
                f"data.max_refill_rate ({data.max_refill_rate}); restore the damaged shards (see the journal)"
            )

    def _warn(self, metrics: StepMetrics) -> None:
        """Tell a collapse once, when it is found, in the log and in the journal."""
        warned = {name for name in metrics.monitors if name.startswith("collapsed.")}
        if warned - self._warned:
            for words in warnings_of(metrics.monitors):
                _log.warning("run_collapsed", run=self._start.run, step=metrics.step, warning=words)
                self._tell("state", {"state": "running", "step": metrics.step, "warning": words})
        self._warned = warned

    def _save(self) -> None:
        began = time.perf_counter()
        share = share_of(state_tensors(self._objective, self._optimizer), self._ranks.rank, self._ranks.world)
        check_state(self.step, share)
        told = counters(refilled=self._trainer.refilled, alarms=self._trainer.collapse.state())
        stall = self._saver.save(self.step, share, told, began)
        self._checkpoint_told["checkpoint_seconds"] = stall

    def _announce(self, commits: Sequence[CheckpointCommit]) -> None:
        for facts in (commit.facts for commit in commits):
            self._tell("checkpoint", facts.model_dump(mode="json"))
            self._checkpoint_told["checkpoint_upload_seconds"] = facts.upload_seconds or 0.0
            self._checkpoint_told["checkpoint_bytes"] = facts.bytes

    def _pause_to_evaluate(self) -> None:
        begun = time.perf_counter()
        self._evaluate()
        self._draw_patches()
        self._trainer.paused += time.perf_counter() - begun

    def _evaluate(self) -> None:
        with generators_kept():
            for report in self._evaluation.frozen_features(self._objective, self.step):
                self._tell("eval", report)

    def _draw_patches(self) -> None:
        if self.config.eval.patch_pca and self._ranks.is_first:
            with generators_kept():
                self._evaluation.patch_picture(self._objective.backbone, self.step)
