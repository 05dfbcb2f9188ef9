"""The configurations that bench_objectives compares, and one training run of one of them in a process of its own."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from frozen_job import FrozenJob, Made

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunAttempt, RunSpec, StepMetrics
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm.telemetry import configure_logging
from synfarm_trainer.config import TrainConfig, to_dict
from synfarm_trainer.presets import resolve
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

__all__ = ["CHOICES", "LADDER", "LEVELS", "Choice", "configuration"]

_RUN, _TOKEN = "01hzzzzzzzzzzzzzzzzzzzzzz1", "01hzzzzzzzzzzzzzzzzzzzzzz2"


@dataclass(frozen=True)
class Choice:
    told: str
    overrides: Mapping[str, Any]
    """On the preset `tiny`."""


# All have 128 global crops a step. Of methods that compare two crops of an image, these are 64 images of 64 captions:
# two of one caption would be told apart as if they were strangers.
_PAIRS = {"data.captions_per_batch": 64, "data.views": 1, "data.crops": 2}
# With the preset's learning rate and momentum these two end with one output for all images.
_SLOWLY = {"optim.lr": 5e-4, "optim.clip_norm": 3.0, "ema.start": 0.99, "ema.end": 0.999}

CHOICES: Mapping[str, Choice] = MappingProxyType(
    {
        "stablerep": Choice("StableRep: multi-positive contrast", {"objective.name": "stablerep"}),
        "ema": Choice("+ EMA (`tiny` as it is)", {}),
        "ema+ibot": Choice("+ EMA + iBOT", {"objective.ibot_weight": 1.0}),
        "ema+crops": Choice("+ EMA + multi-crop", {"local_crops.count": 4}),
        "synclr": Choice("SynCLR: all of them", {"objective.ibot_weight": 1.0, "local_crops.count": 4}),
        "supce": Choice("SupCE: the concept is the class", {"objective.name": "supce"}),
        "simclr": Choice("SimCLR: each image its own class", {"objective.name": "simclr", **_PAIRS}),
        "moco_v3": Choice("MoCo v3", {"objective.name": "moco_v3", **_PAIRS}),
        "dino": Choice("DINO", {"objective.name": "dino", "local_crops.count": 4, **_PAIRS, **_SLOWLY}),
        "ibot": Choice("iBOT", {"objective.name": "ibot", "local_crops.count": 4, **_PAIRS, **_SLOWLY}),
        "dinov2": Choice(
            "DINOv2",
            {"objective.name": "dinov2", "local_crops.count": 4, **_PAIRS, **_SLOWLY, "data.cell_captions": 2},
        ),
        "mae": Choice("MAE", {"objective.name": "mae", "mask.images": 1.0, "mask.ratio": (0.75, 0.75)}),
        "clip": Choice("CLIP", {"objective.name": "clip", "data.captions_per_batch": 128, "data.views": 1}),
    }
)
LADDER = ("stablerep", "ema", "ema+ibot", "ema+crops", "synclr")
"""The paper's table 4."""
LEVELS = ("simclr", "supce", "stablerep")
"""Its table 5: what counts as the same."""


def configuration(name: str, *, steps: int, preset: str = "tiny") -> TrainConfig:
    """One thread, so that as many runs as there are cores go beside each other; evaluated before and after."""
    return resolve(
        preset,
        {
            "schedule.steps": steps,
            "schedule.warmup_steps": steps // 10,
            "checkpoint.every_steps": steps,
            "execution.threads": 1,
            "eval.linear": True,
            "eval.linear_penalties": 12,
            "eval.patch_pca": False,
            **CHOICES[name].overrides,
        },
    )


class _CpuClock(Faults):
    """Looks at the process' CPU time, all threads, as each step begins: other work on the machine does not count."""

    def __init__(self) -> None:
        super().__init__()
        self._looks: list[float] = []

    def reach(self, point: str, unit: int | None = None) -> None:
        self._looks.append(time.process_time())

    def of_steps(self) -> list[float]:
        """All but the last."""
        return [round(after - before, 4) for before, after in pairwise(self._looks)]


def train(job: FrozenJob, name: str, *, seed: int, steps: int) -> dict[str, Any]:
    """What is kept of a run: its configuration, records before and after, losses, seconds and CPU seconds of steps.

    The seed decides the weights, the batches, and which captions are held out.

    Raises:
        NonFinite, DatasetDamaged, ValueError: the run cannot go on.
    """
    config, store = configuration(name, steps=steps), job.store()
    begun = utc_now()
    spec = RunSpec(
        run=_RUN,
        owner="bench",
        created_at=begun,
        name=name.replace("+", "-"),
        preset="tiny",
        datasets=(job.made.dataset,),
        seed=seed,
        ranks=1,
        config=to_dict(config),
    )
    store.put(layout.run(_RUN), spec.to_bytes())
    attempt = RunAttempt(run=_RUN, number=0, token=_TOKEN, started_at=begun, host="bench")
    store.create(layout.attempt(_RUN, 0), attempt.to_bytes())
    clock = _CpuClock()
    with tempfile.TemporaryDirectory(prefix="synfarm-bench-") as folder:
        session = Session(store, Start(_RUN, 0, Path(folder)), Ranks(), clock, lambda: False)
        try:
            session.train()
        finally:
            session.close()
    metrics = _metrics(store)
    return {
        "name": name,
        "seed": seed,
        "steps": steps,
        "begun_at": begun.isoformat(),
        "config": spec.config,
        "seconds": [round(metric.seconds, 4) for metric in metrics],
        "cpu_seconds": clock.of_steps(),
        "losses": metrics[-1].losses,
        "monitors": metrics[-1].monitors,
        "before": _records(store, 0),
        "after": _records(store, steps),
    }


def _metrics(store: MemoryStore) -> list[StepMetrics]:
    parts = (store.get(info.key) for info in store.list(layout.metrics_prefix(_RUN)))
    return [StepMetrics.from_bytes(line) for part in parts for line in part.splitlines()]


def _records(store: MemoryStore, step: int) -> dict[str, Any]:
    return {name: json.loads(store.get(layout.eval_record(_RUN, step, f"{name}.json"))) for name in ("knn", "linear")}


def main() -> int:
    parser = argparse.ArgumentParser(description="One run of bench_objectives; prints its result as JSON.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", choices=CHOICES, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()
    configure_logging("error", "console", process="bench-objectives")
    job = FrozenJob(arguments.data, Made.from_bytes((arguments.data / "job.json").read_bytes()))
    result = train(job, arguments.name, seed=arguments.seed, steps=arguments.steps)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
