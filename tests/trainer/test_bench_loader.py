"""The arithmetic of `make bench-loader`, and its job: the trainer's loader can read it, rivals' files hold the same."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from synfarm.storage.memory import MemoryStore
from synfarm_trainer.data.manifest import load_dataset

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module("bench_loader")
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def turns(bench: Any, rate: float, cpu: float) -> Any:
    """Ten turns, every other one under a load that halves the rate of whoever is at work."""
    return bench.Turns([rate, rate / 2] * 5, [cpu] * 10, [1e-4] * 10)


def test_ratios_are_of_turns_and_goals_of_the_best_rival(bench: Any) -> None:
    sides = {"synfarm": (600, 0.003), "Pillow chain": (120, 0.015), "webdataset": (150, 0.012), "litdata": (200, 0.009)}
    rows = bench.summary({name: turns(bench, *side) for name, side in sides.items()})
    assert rows["Pillow chain"]["ratio_interval"] == [5.0, 5.0], "a load on both sides of a turn is none"
    assert rows["litdata"]["cpu_ratio"] == pytest.approx(3.0)
    assert rows["webdataset"]["cpu_ms"] == pytest.approx(12.0)
    assert bench.goals(rows) == {"pillow": 5.0, "best_other": 3.0}
    del rows["litdata"], rows["Pillow chain"]
    assert bench.goals(rows) == {"best_other": 4.0}
    assert bench.goals({"synfarm": rows["synfarm"]}) == {}


def test_headroom_and_growth(bench: Any) -> None:
    assert bench.headroom(1390 / 16) == pytest.approx(1.0)
    assert bench.headroom(300) == pytest.approx(300 * 16 / 1390)
    images = list(range(2000, 202_000, 2000))
    filling = [400 + min(done, 20_000) / 100 for done in images]
    assert bench.growth(images, filling) == pytest.approx((0.0, 0.0), abs=1e-9), "caches that fill are no leak"
    leak, error = bench.growth(images, [x + 3e-4 * done for x, done in zip(filling, images, strict=True)])
    assert leak == pytest.approx(3.0)
    assert error == pytest.approx(0.0, abs=1e-6)
    _, error = bench.growth(images, [400 + 5.0 * (place % 2) for place in range(100)])
    assert 0 < error < 0.2


def test_all_contestants_have_the_same_job(bench: Any, tmp_path: Path) -> None:
    store, files = MemoryStore(), bench.jpegs(64, 90, 8)
    dataset = load_dataset(store, [bench.write_job(store, files, 20, 64, 90)], views=4)
    bench.write_files(tmp_path, files, 20)
    assert len(dataset.rows) == 20
    for index in (0, 19):
        row = dataset.rows[index]
        shard = store.get(dataset.shards[dataset.shard_of[index]].key)
        packed = [shard[member.offset : member.offset + member.length] for member in row.members[:-1]]
        assert packed == [(tmp_path / str(k) / f"{index:06d}.jpg").read_bytes() for k in range(4)]


def test_a_contestant_answers_and_is_gone_afterwards(bench: Any, tmp_path: Path) -> None:
    children, told = importlib.import_module("loader_children"), tmp_path / "setting.json"
    told.write_text(json.dumps({"access_key": "a", "secret_key": "s", "endpoint": "127.0.0.1:1"}))
    with (
        children.child("nobody", told, tmp_path / "log") as one,
        pytest.raises(children.ChildFailed, match="ended when it was asked to run"),
    ):
        one.ask("run", seconds=1)
    assert one.process.returncode
    assert "TypeError" in (tmp_path / "log").read_text()
