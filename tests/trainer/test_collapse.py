"""Monitors against slow references, when they tell a collapse, and a run that really collapses beside a healthy one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs
from torch.nn.functional import normalize

from synfarm.contracts.base import utc_now
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.api.journal import JournalLine
from synfarm_trainer.api.live import LiveRun
from synfarm_trainer.collapse import ALARMS, CollapseState, CollapseWatch, warnings_of
from synfarm_trainer.objectives.monitors import SAMPLE, effective_rank, named, similarities, spread, use, watched
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start
from synfarm_trainer.shares import COUNTERS
from synfarm_trainer.state import alarms_in, counters

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
DINO: dict[str, object] = {
    "objective.name": "dino",
    "data.crops": 2,
    "data.views": 2,
    "local_crops.count": 0,
    "objective.prototypes": 24,
    "objective.last_layer_frozen": 0.0,
    "schedule.steps": 16,
    "checkpoint.every_steps": 16,
    "eval.knn": False,
    "eval.patch_pca": False,
    "eval.collapse_steps": 5,
    "ema.start": 0.9,
}


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def test_embeddings_are_told_as_their_definitions_have_it() -> None:
    rows, labels = unit(30, 7) + 0.3, torch.arange(30) % 4
    rows = normalize(rows, dim=1)
    told = watched(rows, labels, "x")
    plain = rows.numpy()
    deviation = sum(float(np.std(plain[:, d])) for d in range(7)) / 7
    assert told["x_spread"] == pytest.approx(deviation * 7**0.5, rel=1e-12)
    values = np.linalg.svd(plain, compute_uv=False)
    shares = values / values.sum()
    assert told["x_effective_rank"] == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-10)
    alike, apart = [], []
    for i in range(30):
        for j in range(30):
            if i != j:
                (alike if i % 4 == j % 4 else apart).append(float(plain[i] @ plain[j]))
    assert told["x_positive_similarity"] == pytest.approx(sum(alike) / len(alike), rel=1e-10)
    assert told["x_negative_similarity"] == pytest.approx(sum(apart) / len(apart), rel=1e-10)


def test_ends_of_each_scale() -> None:
    same, labels = unit(1, 6).expand(40, 6), torch.arange(40) // 2
    assert spread(same) == pytest.approx(0, abs=1e-7)
    assert effective_rank(same) == pytest.approx(1, abs=1e-4)
    assert effective_rank(torch.eye(6)) == pytest.approx(6)
    assert effective_rank(torch.zeros(3, 3)) == effective_rank(torch.full((3, 3), torch.nan)) == 0
    assert similarities(same, labels) == pytest.approx((1, 1))
    assert similarities(unit(4, 3), torch.arange(4))[0] == 0, "no pair of one label"
    assert similarities(unit(4, 3), torch.zeros(4, dtype=torch.int64))[1] == 0
    assert use(torch.full((8,), 1 / 8)) == pytest.approx(1)
    assert use(torch.eye(8)[0]) == 0
    assert named(torch.tensor([3, 3, 1, 0]), 8) == 0.75
    assert named(torch.arange(8).repeat(2), 8) == 1
    assert named(torch.empty(0, dtype=torch.int64), 8) == 0


def test_the_rank_is_that_of_a_bounded_sample() -> None:
    rows = unit(SAMPLE + 50, 5)
    assert watched(rows, torch.arange(len(rows)))["key_effective_rank"] == effective_rank(rows[:SAMPLE])


def told_by(watch: CollapseWatch, values: list[float], first: int = 1) -> list[dict[str, float]]:
    return [watch.see(step, {"key_spread": value}) for step, value in enumerate(values, start=first)]


def test_a_collapse_is_so_many_steps_in_a_row() -> None:
    watch = CollapseWatch(steps=3, warmup_steps=0)
    told = told_by(watch, [0.01, 0.01, 0.5, 0.01, 0.01, 0.01, 0.01, 0.5, 0.01])
    assert told == [{}] * 5 + [{"collapsed.key_spread": 3.0}, {"collapsed.key_spread": 4.0}, {}, {}]
    assert told_by(CollapseWatch(steps=0, warmup_steps=0), [0.0] * 9) == [{}] * 9


def test_a_fresh_network_is_not_yet_a_collapsed_one() -> None:
    low = [0.01] * 6
    assert told_by(CollapseWatch(steps=3, warmup_steps=100), low) == [{}] * 6
    assert told_by(CollapseWatch(steps=3, warmup_steps=100), [0.9, *low])[3:] == [
        {"collapsed.key_spread": float(n)} for n in (3, 4, 5, 6)
    ]
    assert told_by(CollapseWatch(steps=3, warmup_steps=3), low)[5] == {"collapsed.key_spread": 3.0}


def test_counts_go_on_after_a_resume_as_if_there_had_been_none() -> None:
    values = [0.9, 0.9, *[0.01] * 6]
    unbroken = told_by(CollapseWatch(steps=5, warmup_steps=100), values)
    first, second = (CollapseWatch(steps=5, warmup_steps=100) for _ in range(2))
    told = told_by(first, values[:5])
    second.go_on_from(alarms_in({COUNTERS: counters(refilled=0, alarms=first.state())}))
    assert told + [second.see(step + 1, {"key_spread": values[step]}) for step in range(5, 8)] == unbroken
    assert unbroken[-2:] == [{"collapsed.key_spread": 5.0}, {"collapsed.key_spread": 6.0}]
    assert alarms_in({COUNTERS: b'{"refilled": 3}'}) == CollapseState(), "of a checkpoint that an older version wrote"


def test_each_warning_names_the_monitor_and_a_cure() -> None:
    for alarm in ALARMS:
        value = alarm.limit * (0.5 if alarm.below else 1.001)
        assert alarm.is_passed(value)
        assert not alarm.is_passed(alarm.limit)
        (words,) = warnings_of({alarm.monitor: value, f"collapsed.{alarm.monitor}": 7.0, "gradient_norm": 1.0})
        assert words.startswith(f"collapsed: {alarm.monitor} is ")
        assert " for 7 steps: " in words
        assert words.endswith(alarm.cure)
        assert any(field in alarm.cure for field in ("optim.", "objective."))
    assert warnings_of({"key_spread": 0.0}) == ()


def test_the_service_tells_what_the_last_step_warns_of() -> None:
    run = LiveRun()
    run.begin(0, 0, {})
    step: dict[str, object] = {
        "at": "2026-01-01T00:00:00Z",
        "epoch": 1.0,
        "losses": {"total": 1.0},
        "loss_hex": "0x1p0",
    }
    step |= {"batch_sha256": "0" * 64, "learning_rate": 0.1, "ema_momentum": 0.9, "data_wait_seconds": 0.0}
    step |= {"seconds": 1.0, "images_per_second": 1.0}
    monitors = {"key_spread": 0.01, "collapsed.key_spread": 50.0}
    run.fold(JournalLine(type="step", at=utc_now(), data={**step, "step": 1, "monitors": monitors}))
    assert run.now.warnings == warnings_of(monitors)
    assert len(run.now.warnings) == 1
    run.fold(JournalLine(type="step", at=utc_now(), data={**step, "step": 2, "monitors": {"key_spread": 0.9}}))
    assert run.now.warnings == ()


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("overrides", "monitors"),
    [
        ({"optim.lr": 3e-4}, set()),
        # Centers that never come, at a wild rate: all targets name one prototype, all images look the same.
        (
            {"optim.lr": 0.05, "objective.center_momentum": 0.999},
            {"key_spread", "key_effective_rank", "prototype_use"},
        ),
    ],
    ids=["healthy", "collapsing"],
)
def test_a_run_that_collapses_says_so_once_and_goes_on(
    tmp_path: Path,
    write_dataset,
    write_run,
    open_attempt,
    overrides: dict[str, object],
    monitors: set[str],
) -> None:
    store = MemoryStore()
    write_run(store, write_dataset(store), overrides={**DINO, **overrides})
    open_attempt(store, 0)
    session = Session(store, Start(RUN, 0, tmp_path), Ranks(), Faults(), lambda: False)
    with capture_logs() as logs:
        assert session.train() == "completed"
    session.close()
    lines = [json.loads(line) for line in (tmp_path / "runs" / RUN / "journal-000000.jsonl").read_text().splitlines()]
    last = [line["data"]["monitors"] for line in lines if line["type"] == "step"][-1]
    assert {name.removeprefix("collapsed.") for name in last if name.startswith("collapsed.")} == monitors
    warned = [line["data"]["warning"] for line in lines if "warning" in line["data"]]
    assert {words.split()[1] for words in warned} == monitors
    assert [log["warning"] for log in logs if log["event"] == "run_collapsed"] == warned
    assert all("optim.lr" in words or "objective." in words for words in warned)
    open_attempt(store, 1)
    resumed = Session(store, Start(RUN, 1, tmp_path), Ranks(), Faults(), lambda: False)
    resumed.close()
    assert resumed._trainer.collapse.state() == session._trainer.collapse.state() != CollapseState()
