"""The table of networks that plans count with, against the trainer's own presets, networks and formula."""

from __future__ import annotations

import pytest
import torch

from synfarm.planning.footprint import TRAINERS
from synfarm_trainer.flops import step_flops
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.presets import resolve


@pytest.mark.parametrize("name", TRAINERS)
def test_a_run_is_what_its_preset_says(name: str) -> None:
    config, told = resolve(name, {}), TRAINERS[name]
    with torch.device("meta"):  # shapes alone: no network of this size is computed
        objective = build_objective(config, seed=1, concepts=0)
    assert (told.steps, told.captions, told.views) == (
        config.schedule.steps,
        config.data.captions_per_batch,
        config.data.views,
    )
    assert told.every == config.checkpoint.every_steps
    images = told.captions * told.views
    assert step_flops(config, objective) / images / 1e9 == pytest.approx(told.gflops, rel=0.001)
    student, teacher = objective.student, objective.teacher
    assert teacher is not None
    held = [tensor for module in (student, teacher) for tensor in module.state_dict().values()]
    moments = 2 * sum(4 * weight.numel() for weight in student.parameters() if weight.requires_grad)
    assert moments + sum(tensor.numel() * tensor.element_size() for tensor in held) == told.checkpoint
