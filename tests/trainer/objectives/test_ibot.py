"""iBOT: both losses, gradient and centers from their definitions, however the batch is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import slow_distilled
import slow_prototypes
import torch
from cuts import ALL_ON, CUTS, TOLERANCE, agree, draw_batch, gradient, made, uneven_masks

from synfarm_trainer.config import TrainConfig

IBOT: dict[str, object] = {
    **ALL_ON,
    "objective.name": "ibot",
    "data.crops": 2,
    "objective.ibot_weight": 1.3,
    "objective.prototypes": 6,
    "objective.prototype_hidden": 12,
    "objective.prototype_bottleneck": 8,
}


@pytest.mark.parametrize(("targets", "separate"), [("centering", False), ("centering", True), ("sinkhorn", False)])
def test_losses_and_gradient_are_those_of_the_definition_at_any_cut(
    small_config: Callable[..., TrainConfig], on_ranks: Any, targets: str, separate: bool
) -> None:
    config = small_config({**IBOT, "objective.targets": targets, "objective.separate_heads": separate})
    batch, objective = draw_batch(config, uneven_masks(config)), made(config)
    seen = slow_distilled.by_definition(config, batch, objective)
    (seen.across + 1.3 * seen.within).backward()
    assert ("own_patch_head.prototypes" in dict(objective.student.named_parameters())) == separate
    for world, captions in CUTS:
        found = gradient(on_ranks, config, batch, world=world, captions=captions)
        agree(found, objective.student, {"dino": seen.across, "ibot": seen.within})
        assert found.terms.weights == {"dino": 1.0, "ibot": 1.3}
        centers = dict(found.objective.teacher.named_buffers())
        assert set(centers) == ({"class_center", "patch_center"} if targets == "centering" else set())
        for name, logits in (("class_center", seen.class_logits), ("patch_center", seen.patch_logits)):
            if targets == "centering":
                moved = slow_prototypes.next_center(logits, getattr(objective.teacher, name), 0.9)
                assert centers[name].tolist() == pytest.approx(moved, abs=TOLERANCE)


def test_both_heads_prototypes_stand_still_at_first(small_config: Callable[..., TrainConfig], on_ranks: Any) -> None:
    config = small_config({**IBOT, "objective.separate_heads": True, "objective.last_layer_frozen": 0.5})
    batch = draw_batch(config, uneven_masks(config))
    early, late = (gradient(on_ranks, config, batch, step=step).gradient for step in (5, 6))
    assert set(late) - set(early) == {"class_head.prototypes", "own_patch_head.prototypes"}


def test_monitors_tell_of_patches_too(small_config: Callable[..., TrainConfig], on_ranks: Any) -> None:
    config = small_config(IBOT)
    told = gradient(on_ranks, config, draw_batch(config, uneven_masks(config))).terms.monitors
    assert 0.1 < told["patch_target_entropy"] < 1
    assert min(told["patch_spread"], told["key_spread"]) > 0.1
    flat = draw_batch(config, uneven_masks(config))
    flat.pixels.fill_(100)
    objective = made(config)
    with torch.no_grad():
        objective.teacher.backbone.pos_embed.zero_()
    (terms,) = on_ranks(1, lambda ranks: objective.accumulate_gradients(flat, ranks, step=0, micro_crops=len(flat)))
    assert terms.monitors["patch_spread"] < 1e-6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.crops": 1}, r"data\.crops: ibot compares crops of one image; use at least 2"),
        ({"objective.ibot_weight": 0.0}, r"objective\.ibot_weight: must be positive; without masked patches"),
        ({"mask.images": 0.1}, r"mask\.images: 0\.1 of the 8 images of a cell is less than one"),
        ({"objective.prototypes": 1}, r"objective\.prototypes: must be at least 2"),
    ],
)
def test_a_wrong_configuration_is_named(
    small_config: Callable[..., TrainConfig], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small_config({**IBOT, **changes})
