"""Real ranks over a real store: other numbers of them go on from a checkpoint, and kill -9 at each point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.settings import StoreSettings
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.checkpoint import CheckpointStore

pytestmark = [pytest.mark.integration, pytest.mark.chaos]
RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
BARE: dict[str, object] = {"eval.knn": False, "eval.patch_pca": False}


@pytest.fixture
def starts(tmp_path: Path, store_settings: StoreSettings) -> Any:
    """(stages) to whether each came to its end, and what its ranks told: see ``forked_ranks.py``."""

    def run(stages: list[dict[str, Any]]) -> tuple[list[bool], list[list[dict[str, Any]]]]:
        plan = tmp_path / "plan.json"
        plan.write_text(json.dumps(stages))
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "SYNFARM_STORE_ENDPOINT": store_settings.endpoint,
            "SYNFARM_STORE_ACCESS_KEY": store_settings.access_key.get_secret_value(),
            "SYNFARM_STORE_SECRET_KEY": store_settings.secret_key.get_secret_value(),
            "SYNFARM_STORE_BUCKET": store_settings.bucket,
            "SYNFARM_STORE_PREFIX": store_settings.prefix,
        }
        script = Path(__file__).with_name("forked_ranks.py")
        command = [sys.executable, str(script), str(plan), str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        told = [
            [
                json.loads(path.read_text())
                for path in sorted(tmp_path.glob(f"told-{stage['run']}-{stage['attempt']}-*.json"))
            ]
            for stage in stages
        ]
        ends = json.loads((tmp_path / "ends.json").read_text())
        assert all(end or "faults" in stage for end, stage in zip(ends, stages, strict=True)), done.stderr[-4000:]
        return ends, told

    return run


def losses(folder: Path, run: str, attempts: list[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for attempt in attempts:
        for line in map(json.loads, (folder / f"runs/{run}/journal-{attempt:06d}.jsonl").read_text().splitlines()):
            if line["type"] == "step":
                found[line["data"]["step"]] = line["data"]["loss_hex"]
    return found


def test_any_number_of_ranks_goes_on_from_a_checkpoint_bit_for_bit(
    starts: Any, store: ObjectStore, write_dataset: Any, write_run: Any
) -> None:
    """Weights, moments, the teacher and its centers, counters: on every rank what the former ranks saved."""
    dinov2 = {
        "objective.name": "dinov2",
        "data.crops": 2,
        "data.views": 2,
        "local_crops.count": 2,
        "local_crops.size": 8,
        "objective.prototypes": 24,
        "schedule.steps": 5,
        "checkpoint.every_steps": 5,
    }
    write_run(store, write_dataset(store, captions=32), overrides={**BARE, **dinov2})
    worlds = [2, 3, 4, 1]
    stages = [
        {"run": RUN, "attempt": attempt, "world": world, "stop": attempt + 1, "refilled": attempt}
        for attempt, world in enumerate(worlds)
    ]
    # Of the second start's checkpoint one rank of the third sees nothing: all four go on from the first's.
    stages[2]["unreadable"] = [1, 2]
    stages[0]["late"] = True
    _, told = starts(stages)
    # The word "stopped" of one machine ends the ranks that are still at it there.
    ended = [(rank["reason"], rank["committed"]) for ranks in told for rank in ranks]
    assert set(ended) == {("stopped", True)}, "no rank has stopped before the checkpoint is there"
    for came_from, stage in ((0, 1), (0, 2), (2, 3)):
        saved = {rank["after"] for rank in told[came_from]}
        assert len(saved) == 1, "the state is the same on every rank"
        assert {rank["before"] for rank in told[stage]} == saved
        assert {rank["resumed"] for rank in told[stage]} == {told[came_from][0]["step"]}
    assert len({rank["after"] for ranks in told for rank in ranks}) == 4
    checkpoints = CheckpointStore(store, RUN, 9, "")
    for came_from, stage in ((0, 1), (2, 3)):
        files = {file.key: file.size for file in checkpoints.read_commit(came_from, came_from + 1).files}
        read = Counter(key for rank in told[stage] for key in rank["read"])
        assert read == Counter(files.keys()), "each file is read by one rank, which hands it to the others"
    four = [sum(size for key, size in rank["read"].items() if f"/{1:09d}-" in key) for rank in told[2]]
    assert max(four) < sum(four) / 2
    for attempt, world in enumerate(worlds):
        commit = checkpoints.read_commit(attempt, attempt + 1)
        names = {layout.parse_checkpoint(file.key)[2] for file in commit.files}
        assert commit.world_size == world
        assert ("optimizer.safetensors" in names) == (world == 1)
        assert f"optimizer-{world - 1:05d}-of-{world:05d}.safetensors" in names or world == 1


@pytest.mark.parametrize(
    "points",
    [
        ["commit"],
        pytest.param(["staged", "upload", "share", "committed", "delete", "deleting"], marks=pytest.mark.long),
    ],
)
def test_kill_9_at_each_point_of_save_commit_and_delete(
    starts: Any, store: ObjectStore, write_dataset: Any, write_run: Any, tmp_path: Path, points: list[str]
) -> None:
    """Two ranks, of which the first to come there falls; the next start makes of the run what it would have been."""
    quick = {**BARE, "schedule.steps": 9, "checkpoint.every_steps": 2, "checkpoint.keep_last": 1}
    dataset = write_dataset(store, captions=32)
    calm, *runs = (f"{RUN[:-1]}{number}" for number in range(len(points) + 1))
    for run in (calm, *runs):
        write_run(store, dataset, ranks=2, overrides=quick, run=run)
    stages: list[dict[str, Any]] = [{"run": calm, "attempt": 0, "world": 2}]
    for run, point in zip(runs, points, strict=True):
        fault = f"checkpoint.{point}:unit={2 if point.startswith('delet') else 4}:kill:{tmp_path}/{point}"
        stages.append({"run": run, "attempt": 0, "world": 2, "faults": fault})
        stages.append({"run": run, "attempt": 1, "world": 2})
    ends, told = starts(stages)
    assert ends == [True, *([False, True] * len(points))]
    expected = losses(tmp_path, calm, [0])
    assert list(expected) == list(range(1, 10))
    for run, point, resumed in zip(runs, points, told[2::2], strict=True):
        assert (tmp_path / point).exists()
        # Commits come in order, uploads may be ahead of them: that of 2 may not yet have stood when 4 went up.
        stood = {"commit": {2}, "committed": {4}, "delete": {4}, "deleting": {4}}.get(point, {0, 2})
        assert resumed[0]["resumed"] in stood, point
        assert losses(tmp_path, run, [0, 1]) == expected, point
        assert {rank["after"] for rank in resumed} == {rank["after"] for rank in told[0]}, point
        left = CheckpointStore(store, run, 9, "")
        assert list(left.folders()) == [(1, 9)], "what was left half done went with the next deletion"
        left.load(1, 9)
