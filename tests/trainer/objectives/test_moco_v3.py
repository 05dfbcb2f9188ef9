"""MoCo v3: loss and gradient from its definition, however the batch is cut; the frozen patch projection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cuts import ALL_ON, CUTS, IMAGES, agree, draw_batch, gradient, made
from torch import Tensor
from torch.nn.functional import normalize

from synfarm_trainer.config import OptimConfig, TrainConfig
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.optim import build_optimizer, set_hyperparameters
from synfarm_trainer.state import restore

MOCO: dict[str, object] = {**ALL_ON, "objective.name": "moco_v3", "data.crops": 2}


def by_definition(batch: TensorBatch, objective: Any) -> Tensor:
    """Image by image: its prediction from one crop against all keys of the other crops, and the other way round."""
    student, teacher = objective.student, objective.teacher
    images = normalise(batch.pixels, torch.float64)
    with torch.no_grad():
        keys = normalize(teacher.projector(teacher.backbone.tokens(images)[:, 0]), dim=1)
    tokens = student.backbone.tokens(images, kept=batch.kept)[:, 0]
    anchors = normalize(student.predictor(student.projector(tokens)), dim=1)
    losses = []
    for image in range(IMAGES):
        for mine, other in ((0, 1), (1, 0)):
            scores = torch.stack([anchors[2 * image + mine] @ keys[2 * j + other] / 0.2 for j in range(IMAGES)])
            losses.append(-scores.log_softmax(dim=0)[image])
    return 2 * 0.2 * 2 * torch.stack(losses).mean()


@pytest.mark.parametrize("freeze", [True, False])
def test_loss_and_gradient_are_those_of_the_definition_at_any_cut(
    small_config: Callable[..., TrainConfig], on_ranks: Any, freeze: bool
) -> None:
    config = small_config({**MOCO, "objective.freeze_patches": freeze})
    batch, objective = draw_batch(config), made(config)
    loss = by_definition(batch, objective)
    loss.backward()
    for world, captions in CUTS:
        found = gradient(on_ranks, config, batch, world=world, captions=captions)
        agree(found, objective.student, {"contrastive": loss})
        assert ("backbone.patch_embed.proj.weight" in found.gradient) is not freeze
        assert found.terms.monitors["key_spread"] > 0.1


def test_the_frozen_patch_projection_is_neither_moved_nor_decayed_and_resumes(
    small_config: Callable[..., TrainConfig], on_ranks: Any, saved: Callable[..., dict[str, bytes]]
) -> None:
    config = small_config(MOCO)
    batch = draw_batch(config)

    def step(objective: Any, optimizer: torch.optim.AdamW) -> None:
        on_ranks(1, lambda ranks: objective.accumulate_gradients(batch, ranks, step=0, micro_crops=len(batch)))
        set_hyperparameters(optimizer, lr=0.1, weight_decay=0.5)
        optimizer.step()
        optimizer.zero_grad()

    first, second = made(config), made(config)
    before = {name: p.detach().clone() for name, p in first.student.named_parameters()}
    optimizer = build_optimizer(first.student, OptimConfig())
    step(first, optimizer)
    still = {name for name, p in first.student.named_parameters() if torch.equal(p, before[name])}
    assert still == {"backbone.patch_embed.proj.weight", "backbone.patch_embed.proj.bias"}
    resumed = build_optimizer(second.student, OptimConfig())
    restore(second, resumed, saved(first, optimizer))
    step(first, optimizer)
    step(second, resumed)
    assert all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(first.student.parameters(), second.student.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("crops", "message"),
    [
        (1, r"data\.crops: moco_v3 compares crops of one image; use at least 2"),
        (3, r"data\.crops: moco_v3 compares two crops of an image with each other; set it to 2"),
    ],
)
def test_an_image_has_two_crops(small_config: Callable[..., TrainConfig], crops: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_config({**MOCO, "data.crops": crops})
