"""Weights & Biases: a run of the same id, taken up again by every later start. Its own ``WANDB_*`` variables hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synfarm_trainer.sinks.protocol import RecordKind, RunOpening
from synfarm_trainer.sinks.scalars import scalars

__all__ = ["WandbRun"]


class WandbRun:
    """``WANDB_MODE=offline`` writes below ``folder`` alone, for ``wandb sync``."""

    def __init__(self, project: str, folder: Path, opening: RunOpening) -> None:
        import wandb

        spec = opening.spec
        folder.mkdir(parents=True, exist_ok=True)
        self._failed = False
        self._run = wandb.init(
            project=project,
            id=spec.run,
            name=spec.name,
            resume="allow",
            dir=str(folder),
            config={"preset": spec.preset, "seed": spec.seed, "ranks": spec.ranks, **spec.config},
            # Standard output is the run's log; metrics of the machine are Prometheus's.
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )
        # Its own step may only rise; ours goes back to the checkpoint when a run resumes.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
        if kind == "state":
            self._failed = data.get("state") == "failed"
        elif (found := scalars(kind, data)) is not None:
            step, values = found
            self._run.log({**values, "step": step})

    def close(self) -> None:
        self._run.finish(exit_code=int(self._failed))
