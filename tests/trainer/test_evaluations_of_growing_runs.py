"""Evaluations of a run whose dataset grows: whose time they are, what they look at, and what ranks exchange."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer import loop
from synfarm_trainer.evaluation import Evaluation
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

sys.path.insert(0, str(Path(__file__).parent))
from growing_job import GrowingJob

RUN, JOB = "01hzzzzzzzzzzzzzzzzzzzzzz1", "01hzzzzzzzzzzzzzzzzzzzzzz0"


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


class _GrowsAt(Faults):
    def __init__(self, step: int, grow: Callable[[], None]) -> None:
        super().__init__()
        self._step, self._grow = step, grow

    def reach(self, point: str, unit: int | None = None) -> None:
        if point == "train.step" and unit == self._step:
            self._grow()


@pytest.fixture
def trained(tmp_path: Path, write_dataset, write_run, open_attempt) -> Callable[[], tuple[Session, dict]]:
    """A run of 6 steps of 8 captions, evaluated after every second; 16 captions until step 2, then 64. Its journal."""

    def run() -> tuple[Session, dict[str, list[dict]]]:
        store = MemoryStore()
        growing = GrowingJob.write(store, write_dataset, JOB)
        growing.grow()
        overrides = {"data.captions_per_batch": 8, "schedule.steps": 6, "eval.patch_pca": False, "eval.every_steps": 2}
        write_run(store, growing.ref, follow=True, overrides=overrides)
        open_attempt(store, 0)
        session = Session(store, Start(RUN, 0, tmp_path), Ranks(), _GrowsAt(2, growing.end), lambda: False)
        try:
            session.train()
        finally:
            session.close()
        told: dict[str, list[dict]] = {}
        for line in (tmp_path / "runs" / RUN / "journal-000000.jsonl").read_text().splitlines():
            told.setdefault(json.loads(line)["type"], []).append(json.loads(line)["data"])
        assert [line["step"] for line in told["segment"]] == [2]
        return session, told

    return run


def test_an_evaluation_right_before_data_is_taken_in_is_no_steps_time(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    now, clock = [0.0], loop.time.perf_counter
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0] + clock())
    original = Evaluation.frozen_features

    def slow(self, objective, step):
        now[0] += 3600
        return original(self, objective, step)

    monkeypatch.setattr(Evaluation, "frozen_features", slow)
    _, told = trained()
    assert [0 <= step["seconds"] < 600 for step in told["step"]] == [True] * 6


def test_data_that_was_taken_in_is_evaluated_too(trained) -> None:
    session, told = trained()
    held, trains = int(session._plan.held.sum()), int((~session._plan.held).sum())
    # That of step 2 comes before the segment.
    counted = {line["step"]: (line["test_captions"], line["bank_images"]) for line in told["eval"]}
    assert counted == {0: (8, 32), 2: (8, 32), 4: (held, 4 * trains), 6: (held, 4 * trains)}
    floors = [line["floors"] for line in told["eval"]]
    assert floors[0] == floors[1] != floors[2] == floors[3], "of the images that are looked at"
