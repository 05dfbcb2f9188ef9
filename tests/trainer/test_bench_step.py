"""`make bench-step` compares like with like: the plain step has the losses of the trainer, also after two steps."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module("bench_step")
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def test_a_hand_written_step_is_the_trainers(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.AGREEMENT, "cpu", 1e-5)
    setting = bench.setting_of("tiny", 4, "cpu", {"augment.size": 16, "local_crops.size": 8})
    batch, ours = setting.batch(), bench.OurStep(setting)
    plain = bench.PlainStep(setting, ours.student, ours.teacher, compiled=False)
    assert setting.config.model.drop_path > 0
    assert set(bench.check_plain(setting, ours, plain, batch)) == {"contrastive", "contrastive_local", "ibot"}
    with pytest.raises(SystemExit, match=r"plain step 1: contrastive\w* is .* nothing was measured"):
        bench.check_plain(setting, bench.OurStep(setting), plain, batch)  # one of them two steps ahead
    all_patches = bench.PlainStep(setting, ours.student, ours.teacher, compiled=False)
    with bench.FlopCounterMode(display=False) as counter:
        all_patches.losses(batch)
    assert 0 < bench.needed_flops(setting, ours, batch) < 3 * counter.get_total_flops(), "the head's useless work"


def test_the_interval_is_one_of_order_statistics(bench: Any) -> None:
    values = [float(x) for x in range(10, 0, -1)]
    assert bench.interval(values) == (5.5, 2.0, 9.0)
    assert bench.interval([float(x) for x in range(1, 21)]) == (10.5, 6.0, 15.0)
