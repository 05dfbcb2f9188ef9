"""DINOv2: three losses and their gradient from the definitions, however the batch is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import slow_distilled
import slow_features
import torch
from cuts import ALL_ON, CELL, CUTS, IMAGES, VIEWS, agree, draw_batch, gradient, made, uneven_masks

from synfarm_trainer.config import TrainConfig

CROPS = 2
DINOV2: dict[str, object] = {
    **ALL_ON,
    "objective.name": "dinov2",
    "data.crops": CROPS,
    "objective.koleo_weight": 0.3,
    "objective.prototypes": 6,
    "objective.prototype_hidden": 12,
    "objective.prototype_bottleneck": 8,
}


def koleo(classes: torch.Tensor) -> torch.Tensor:
    """Of each crop number the mean over images; neighbours are sought among the images of a cell."""
    means = []
    for crop in range(CROPS):
        own = classes[torch.arange(IMAGES) * CROPS + crop]
        means.append(torch.cat([slow_features.koleo(cell) for cell in own.split(CELL * VIEWS)]).mean())
    return sum(means)


def test_losses_and_gradient_are_those_of_the_definition_at_any_cut(
    small_config: Callable[..., TrainConfig], on_ranks: Any
) -> None:
    config = small_config(DINOV2)
    batch, objective = draw_batch(config, uneven_masks(config)), made(config)
    seen = slow_distilled.by_definition(config, batch, objective)
    spread = koleo(seen.classes)
    (seen.across + seen.within + 0.3 * spread).backward()
    names = {name for name, p in objective.student.named_parameters() if p.requires_grad}
    assert {"class_head.gain", "own_patch_head.gain", "own_patch_head.prototypes"} <= names
    for world, captions in CUTS:
        found = gradient(on_ranks, config, batch, world=world, captions=captions)
        agree(found, objective.student, {"dino": seen.across, "ibot": seen.within, "koleo": spread})
        assert not list(found.objective.teacher.buffers()), "Sinkhorn needs no centers"


def test_without_its_weight_there_is_no_koleo(small_config: Callable[..., TrainConfig], on_ranks: Any) -> None:
    one = {"data.cell_captions": 1, "data.views": 1, "model.drop_path": 0.0, "local_crops.count": 0}
    with pytest.raises(ValueError, match=r"data\.cell_captions: KoLeo looks for an image's neighbour in its cell"):
        small_config({**DINOV2, **one})
    assert small_config({**DINOV2, **one, "objective.koleo_weight": 0.0}).objective.koleo_weight == 0
    config = small_config({**DINOV2, "objective.koleo_weight": 0.0})
    found = gradient(on_ranks, config, draw_batch(config, uneven_masks(config)))
    assert set(found.losses) == set(found.terms.weights) == {"dino", "ibot"}
    with pytest.raises(ValueError, match=r"objective\.koleo_weight: must not be negative"):
        small_config({**DINOV2, "objective.koleo_weight": -1.0})
