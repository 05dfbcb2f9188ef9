"""Schedules against the numbers of the published code (``tests/oracles``) and at the points that the paper fixes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from synfarm_trainer.config import EmaConfig, OptimConfig, ScheduleConfig, SynclrConfig
from synfarm_trainer.optim import build_optimizer, set_hyperparameters
from synfarm_trainer.schedules import (
    ema_momentum,
    half_cosine,
    learning_rate,
    linear,
    teacher_temperature,
    weight_decay,
)

PUBLISHED = np.load(Path(__file__).parents[1] / "oracles" / "schedules.npz", allow_pickle=False)
EXACT = {"rtol": 1e-10, "atol": 1e-16}
EPOCH = 40
"""Steps in the tests' epoch: the published schedules are by epoch, and its numbers at multiples of a twentieth."""


def test_the_releases_schedules_over_fifteen_epochs() -> None:
    steps = np.rint(PUBLISHED["epoch"] * EPOCH).astype(int).tolist()
    assert np.allclose(np.array(steps) / EPOCH, PUBLISHED["epoch"], rtol=0, atol=1e-12)
    schedule = ScheduleConfig(steps=15 * EPOCH, warmup_steps=EPOCH // 2)
    optim, ema = OptimConfig(lr=2.4e-3), EmaConfig()
    objective = SynclrConfig(teacher_temperature_steps=EPOCH)
    found = {
        "lr": [learning_rate(step, schedule, optim) for step in steps],
        "lr_scaled_group_half": [0.5 * learning_rate(step, schedule, optim) for step in steps],
        "wd": [weight_decay(step, schedule, optim) for step in steps],
        "ema": [ema_momentum(step, schedule, ema) for step in steps],
        "ema_linear": [linear(step, schedule.steps, ema.start, ema.end) for step in steps],
        "teacher_temp": [teacher_temperature(step, objective) for step in steps],
    }
    for name, values in found.items():
        np.testing.assert_allclose(values, PUBLISHED[name], err_msg=name, **EXACT)


def test_the_group_without_decay_has_none_at_any_epoch() -> None:
    optimizer = build_optimizer(nn.Linear(2, 2), OptimConfig())
    for step, expected in enumerate(PUBLISHED["wd_nodecay_group"]):
        set_hyperparameters(optimizer, lr=1.0, weight_decay=PUBLISHED["wd"][step])
        assert optimizer.param_groups[1]["weight_decay"] == expected


@pytest.mark.parametrize(("name", "lr"), [("paper_vitb_500k", 2e-3), ("paper_vitl_500k", 1.5e-3)])
def test_the_papers_schedules_by_step(name: str, lr: float) -> None:
    steps = PUBLISHED[f"{name}/step"].tolist()
    schedule = ScheduleConfig()
    assert (schedule.steps, schedule.warmup_steps) == (500_000, 80_000)
    found = {
        "lr": [learning_rate(step, schedule, OptimConfig(lr=lr)) for step in steps],
        "wd": [weight_decay(step, schedule, OptimConfig()) for step in steps],
        "ema": [ema_momentum(step, schedule, EmaConfig()) for step in steps],
        "teacher_temp": [teacher_temperature(step, SynclrConfig()) for step in steps],
    }
    for key, values in found.items():
        np.testing.assert_allclose(values, PUBLISHED[f"{name}/{key}"], err_msg=key, **EXACT)


def test_dinov2s_cosine_is_made_of_the_same_parts() -> None:
    """Its warm-up reaches the base in its last step, ours in the first one after it."""
    expected = PUBLISHED["dinov2_cosine_base1e-3_final1e-6_total200_warm20"]
    rise = [linear(step, 19, 0.0, 1e-3) for step in range(20)]
    fall = [half_cosine(step, 180, 1e-3, 1e-6) for step in range(180)]
    np.testing.assert_allclose(rise + fall, expected, **EXACT)
    expected = PUBLISHED["dinov2_cosine_temp_base0.07_final0.07_total60_warm60_start0.04"]
    np.testing.assert_allclose([linear(step, 59, 0.04, 0.07) for step in range(60)], expected, **EXACT)


def test_the_teachers_temperature_at_the_points_that_the_paper_fixes() -> None:
    temperatures = [teacher_temperature(step, SynclrConfig()) for step in (0, 500, 2000, 3500, 4000, 500_000)]
    assert temperatures == pytest.approx([0.04, 0.04375, 0.055, 0.06625, 0.07, 0.07], rel=1e-12)
    assert teacher_temperature(0, SynclrConfig(teacher_temperature_steps=0)) == 0.07
