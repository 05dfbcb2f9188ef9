"""DINO: loss, gradient and centers from their definitions, however the batch is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import slow_distilled
import slow_prototypes
import torch
from cuts import ALL_ON, CUTS, TOLERANCE, agree, draw_batch, gradient, made
from torch import Tensor

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.models.vit import normalise

DINO: dict[str, object] = {
    **ALL_ON,
    "objective.name": "dino",
    "data.crops": 3,
    "objective.prototypes": 6,
    "objective.prototype_hidden": 12,
    "objective.prototype_bottleneck": 8,
}


@pytest.mark.parametrize(("targets", "gain"), [("centering", False), ("sinkhorn", True)])
def test_loss_and_gradient_are_those_of_the_definition_at_any_cut(
    small_config: Callable[..., TrainConfig], on_ranks: Any, targets: str, gain: bool
) -> None:
    config = small_config({**DINO, "objective.targets": targets, "objective.train_gain": gain})
    batch, objective = draw_batch(config), made(config)
    seen = slow_distilled.by_definition(config, batch, objective)
    seen.across.backward()
    assert ("class_head.gain" in {n for n, p in objective.student.named_parameters() if p.requires_grad}) == gain
    for world, captions in CUTS:
        found = gradient(on_ranks, config, batch, world=world, captions=captions)
        agree(found, objective.student, {"dino": seen.across})
        centers = dict(found.objective.teacher.named_buffers())
        assert set(centers) == ({"class_center"} if targets == "centering" else set())
        if centers:
            moved = slow_prototypes.next_center(seen.class_logits, objective.teacher.class_center, 0.9)
            assert centers["class_center"].tolist() == pytest.approx(moved, abs=TOLERANCE)


def test_prototypes_stand_still_in_the_first_share_of_the_run(
    small_config: Callable[..., TrainConfig], on_ranks: Any
) -> None:
    config = small_config({**DINO, "objective.last_layer_frozen": 0.5})
    batch = draw_batch(config)
    early, late = (gradient(on_ranks, config, batch, step=step).gradient for step in (5, 6))
    assert set(late) - set(early) == {"class_head.prototypes"}
    assert all(float(late[name].abs().max()) > 0 for name in late)


def test_the_temperature_of_targets_rises_over_its_share_of_the_run(
    small_config: Callable[..., TrainConfig], on_ranks: Any
) -> None:
    config = small_config({**DINO, "objective.teacher_temperature_warmup": 0.5})
    told = [gradient(on_ranks, config, draw_batch(config), step=s).terms.monitors for s in (0, 3, 6, 11)]
    assert [m["teacher_temperature"] for m in told] == pytest.approx([0.04, 0.055, 0.07, 0.07])


def test_monitors_tell_both_collapses(small_config: Callable[..., TrainConfig], on_ranks: Any) -> None:
    config = small_config({**DINO, "objective.targets": "centering"})
    healthy = gradient(on_ranks, config, draw_batch(config)).terms.monitors
    assert 0.1 < healthy["target_entropy"] < healthy["prototype_use"] <= 1
    flat = draw_batch(config)
    flat.pixels.fill_(100)

    def told(center: Callable[[Any], Tensor]) -> dict[str, float]:
        objective = made(config)
        with torch.no_grad():
            objective.teacher.backbone.pos_embed.zero_()
            objective.teacher.class_center.copy_(center(objective))
        (terms,) = on_ranks(1, lambda ranks: objective.accumulate_gradients(flat, ranks, step=0, micro_crops=99))
        return terms.monitors

    one = told(lambda objective: torch.eye(6)[0] * -50)
    assert one["key_spread"] < 1e-6 < 0.1 < healthy["key_spread"]
    assert one["prototype_use"] < 1e-6

    def own(objective: Any) -> Tensor:
        tokens = objective.teacher.backbone.tokens(normalise(flat.pixels[:1], torch.float64))
        return objective.teacher.class_head(tokens[:, 0])[0]

    alike = told(own)
    assert alike["target_entropy"] == pytest.approx(1, abs=1e-6)
    assert alike["prototype_use"] == pytest.approx(1, abs=1e-6)


def test_an_image_needs_two_global_crops(small_config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(ValueError, match=r"data\.crops: dino compares crops of one image; use at least 2"):
        small_config({**DINO, "data.crops": 1})
    with pytest.raises(ValueError, match=r"objective\.last_layer_frozen: is a share of the run, in \[0, 1\)"):
        small_config({**DINO, "objective.last_layer_frozen": 1250})
    with pytest.raises(ValueError, match=r"objective\.targets: must be one of centering, sinkhorn"):
        small_config({**DINO, "objective.targets": "center"})


def test_widths_of_the_presets_prototypes_carry_over(small_config: Callable[..., TrainConfig]) -> None:
    chosen = small_config({"objective.name": "dino", "data.crops": 2}).objective
    assert (chosen.prototypes, chosen.prototype_hidden, chosen.prototype_bottleneck) == (256, 256, 64)
