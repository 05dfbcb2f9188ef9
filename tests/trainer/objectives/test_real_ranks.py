"""One gradient at one to four ranks that are real processes: every objective, and the batches that tell ranks apart.

That one rank's gradient of the whole batch is that of the definition is shown beside each objective; here ranks talk
by gloo, sum gradients as the training loop does, and must agree with one rank. One start of the processes serves all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from cuts import ALL_ON, CAPTIONS, TOLERANCE
from real_ranks import LABELS, WORLDS

from synfarm_trainer.config import OBJECTIVES, TrainConfig, to_dict

CHILD = Path(__file__).with_name("real_ranks.py")
Numbers = Mapping[str, np.ndarray]
MICRO: dict[int, list[int]] = {1: [CAPTIONS, 5], 2: [6, 1], 3: [4, 3], 4: [3, 2]}
FEW: dict[int, list[int]] = {1: [CAPTIONS], 2: [2], 3: [4], 4: [1]}
DDP: dict[int, list[int]] = {1: [CAPTIONS], 2: [6, 2], 3: [4, 1], 4: []}
WHOLE: dict[int, list[int]] = {1: [CAPTIONS], 2: [6], 3: [4], 4: []}
"""Captions in a micro-batch by ranks; the first of one rank is the whole batch."""
CROPS: dict[str, object] = {"data.crops": 2}
PROTOTYPES: dict[str, object] = {
    "objective.prototypes": 6,
    "objective.prototype_hidden": 12,
    "objective.prototype_bottleneck": 8,
}
SYNCLR: dict[str, object] = {
    "objective.local_weight": 0.7,
    "objective.ibot_weight": 1.3,
    "objective.prototypes": 10,
    "objective.patch_hidden": 16,
    "objective.patch_bottleneck": 8,
}
BATCH_NORM: dict[str, object] = {"objective.name": "simclr", "objective.head_norm": "batch"}
SINKHORN: dict[str, object] = {"objective.targets": "sinkhorn"}
OBJECTIVE_CASES: dict[str, dict[str, object]] = {
    "synclr": SYNCLR,
    "stablerep": {},
    "simclr": CROPS,
    "supce": {},
    "moco_v3": CROPS,
    "mae": {"objective.decoder_depth": 1, "model.patch": 4, "mask.images": 1.0, "mask.ratio": [0.75, 0.75]},
    "dino": {**CROPS, **PROTOTYPES},
    "dino sinkhorn": {**CROPS, **PROTOTYPES, **SINKHORN},
    "ibot": {**CROPS, **PROTOTYPES, "objective.separate_heads": True},
    "ibot sinkhorn": {**CROPS, **PROTOTYPES, **SINKHORN},
    "dinov2": {**CROPS, **PROTOTYPES},
    "clip": {"objective.text_depth": 1, "objective.joint_width": 16, "objective.context": 16},
}
"""An objective's name, then what is special."""
SOME_MASKS = ("uneven", "first quarter", "last quarter", "none")


def cases_of(small_config: Callable[..., TrainConfig]) -> dict[str, dict[str, Any]]:
    def case(
        changes: dict[str, object],
        batches: list[tuple[str, str]],
        micro: dict[int, list[int]],
        parallel: str = "ordered",
    ) -> dict[str, Any]:
        config = small_config({**ALL_ON, "data.cell_captions": 1, **changes})
        return {"config": to_dict(config), "batches": batches, "micro": micro, "parallel": parallel}

    found = {}
    for name, changes in OBJECTIVE_CASES.items():
        masks = "by cells" if name == "mae" else "uneven"
        found[name] = case({"objective.name": name.split()[0], **changes}, [("one twice", masks)], MICRO)
    # The same objective meets them one after another: nothing of one may stay for the next, whose shapes are the same.
    for name in ("synclr", "stablerep", "clip"):
        layouts = [(labels, "by cells") for labels in LABELS]
        found[f"labels of {name}"] = case({"objective.name": name, **OBJECTIVE_CASES[name]}, layouts, FEW)
    for name in ("synclr", "ibot", "dinov2"):
        changes = {"objective.name": name, **OBJECTIVE_CASES[name]}
        found[f"masks of {name}"] = case(changes, [("apart", masks) for masks in SOME_MASKS], FEW)
    # Gradients added up beside the backward. Some batches have no masked patch on some rank, in its last micro-batch,
    # or at all; nothing of a former batch may linger.
    for name in ("synclr", "simclr", "clip", "dinov2", "supce"):
        masks = ("uneven", *SOME_MASKS[1:]) if name in ("synclr", "dinov2") else ("by cells",)
        changes = {"objective.name": name, **OBJECTIVE_CASES[name]}
        found[f"ddp {name}"] = case(changes, [("one twice", mask) for mask in masks], DDP, "ddp")
    found["ddp batch norm"] = case({**CROPS, **BATCH_NORM}, [("apart", "by cells")], WHOLE, "ddp")
    large = {**SYNCLR, "data.captions_per_batch": 256, "model.width": 8, "objective.head_hidden": 8}
    found["512 crops"] = case(large, [("one twice", "by cells")], {1: [256, 32], 2: [32], 3: [], 4: [32]})
    return found


def run(cases: dict[str, dict[str, Any]], folder: Path) -> list[Numbers]:
    """What each process found."""
    (folder / "cases.json").write_text(json.dumps(cases))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    told = [folder / f"process{process}.err" for process in range(WORLDS)]
    with ExitStack() as files:
        children = [
            subprocess.Popen(
                [sys.executable, "-W", "error", str(CHILD), str(process), str(folder)],
                env=environment,
                stderr=files.enter_context(told[process].open("w")),
            )
            for process in range(WORLDS)
        ]
        deadline = time.monotonic() + 250
        try:
            # One that fails leaves the others waiting for it.
            while {child.poll() for child in children} <= {None, 0} and time.monotonic() < deadline:
                if all(child.returncode == 0 for child in children):
                    break
                time.sleep(0.05)
        finally:
            for child in children:
                child.kill()
                child.wait()
    assert [child.returncode for child in children] == [0] * WORLDS, [path.read_text()[-1500:] for path in told]
    return [np.load(folder / f"process{process}.npz", allow_pickle=False) for process in range(WORLDS)]


def disagreements(cases: dict[str, dict[str, Any]], found: list[Numbers]) -> list[str]:
    """Where ranks or cuts differ from one rank that has the whole batch at once."""
    wrong = []
    for name, case in cases.items():
        whole = f"{name}/1/{case['micro'][1][0]}/"
        for process, numbers in enumerate(found):
            for key in (key for key in numbers if key.startswith(f"{name}/")):
                _, world, captions, what = key.split("/", 3)
                alone = found[WORLDS - 1][whole + what]
                # timm resamples positions for local crops in float32.
                tolerance = 1e-6 if key.endswith("pos_embed") else TOLERANCE
                compared = what.endswith("monitors") or np.allclose(numbers[key], alone, rtol=0, atol=tolerance)
                # All ranks hold the same sum, to the bit.
                alike = world == "1" or np.array_equal(numbers[key], found[0][key])
                if not (compared and alike and np.isfinite(numbers[key]).all()):
                    wrong.append(f"process {process}, {world} ranks, {captions} captions at once: {name}/{what}")
    return wrong


def test_ranks_that_are_processes_make_the_gradient_of_one(
    small_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """One test, because its processes are what takes the time."""
    cases = cases_of(small_config)
    assert {name.split()[0] for name in OBJECTIVE_CASES} == set(OBJECTIVES), "every objective"
    found = run(cases, tmp_path)
    assert disagreements(cases, found) == []

    alone = found[WORLDS - 1]
    for name, term in (("synclr", "contrastive"), ("stablerep", "contrastive"), ("clip", "contrastive")):
        losses = {float(alone[f"labels of {name}/1/{CAPTIONS}/{place}/loss/{term}"]) for place in range(len(LABELS))}
        assert len(losses) == len(LABELS), f"{name}: layouts are told apart"
    for name in ("synclr", "ibot", "dinov2"):
        *some, none = (
            float(alone[f"masks of {name}/1/{CAPTIONS}/{place}/loss/ibot"]) for place in range(len(SOME_MASKS))
        )
        assert min(some) > 0.1
        assert none == 0
    assert len(alone["512 crops/1/256/0/loss/ibot"].shape) == 0
