"""CLIP: its loss from the definition, one gradient however the batch is cut, and a scale that stays in its bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import slow_contrast
import torch
from cuts import ALL_ON, CAPTIONS, CUTS, VIEWS, agree, draw_batch, gradient, made

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.texts import encode_text
from synfarm_trainer.losses.clip import LOG_SCALE_LIMIT, LOG_SCALE_START
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.optim import build_optimizer
from synfarm_trainer.ranks import Ranks

CLIP: dict[str, object] = {
    **ALL_ON,
    "objective.name": "clip",
    "objective.text_depth": 2,
    "objective.text_heads": 2,
    "objective.joint_width": 16,
    "objective.context": 16,
}


def batch_of(config: TrainConfig) -> TensorBatch:
    """Texts of other lengths, one of them cut, one of them empty."""
    texts = [encode_text("x y" * (place % 7), 16) for place in range(CAPTIONS)]
    return replace(draw_batch(config), texts=torch.stack([torch.from_numpy(text) for text in texts]))


def by_definition(config: TrainConfig, batch: TensorBatch) -> tuple[Any, torch.Tensor]:
    """The whole batch at once."""
    student = made(config).student
    tokens = student.backbone.tokens(normalise(batch.pixels, torch.float64), kept=batch.kept)
    images, texts = student.image_projection(tokens[:, 0]), student.text_projection(student.text(batch.texts))
    images, texts = (x / x.norm(dim=1, keepdim=True) for x in (images, texts))
    of_texts = batch.labels[:: len(batch) // CAPTIONS]
    loss = slow_contrast.clip(images, texts, batch.labels, of_texts, student.log_scale)
    loss.backward()
    return student, loss


@pytest.mark.parametrize("views", [1, VIEWS])
def test_loss_and_gradient_are_those_of_the_definition_at_any_cut(
    small_config: Callable[..., TrainConfig], on_ranks: Any, views: int
) -> None:
    """Also with a caption that stands twice, and of several images."""
    config = small_config(CLIP)
    batch = batch_of(config)
    if views == 1:
        config = small_config({**CLIP, "data.views": 1})
        batch = replace(batch, pixels=batch.pixels[::VIEWS], labels=batch.labels[::VIEWS], kept=None)
    student, loss = by_definition(config, batch)
    for world, captions in CUTS:
        agree(gradient(on_ranks, config, batch, world=world, captions=captions), student, {"contrastive": loss})


def test_gradients_are_added_to_those_that_are_there(small_config: Callable[..., TrainConfig]) -> None:
    config = small_config(CLIP)
    objective, batch = made(config), batch_of(config)
    seen = []
    for _ in range(2):
        objective.accumulate_gradients(batch, Ranks(), step=0, micro_crops=len(batch))
        seen.append({name: p.grad.clone() for name, p in objective.student.named_parameters()})
    for name, once in seen[0].items():
        torch.testing.assert_close(seen[1][name], 2 * once)


def test_the_scale_starts_as_published_is_not_decayed_and_stays_in_its_bounds(
    small_config: Callable[..., TrainConfig],
) -> None:
    config = small_config(CLIP)
    objective = made(config)
    scale = objective.student.log_scale
    assert scale.item() == pytest.approx(LOG_SCALE_START)
    optimizer = build_optimizer(objective.student, config.optim)
    assert any(scale is p for group in optimizer.param_groups if not group["decays"] for p in group["params"])
    for start, end in ((-0.5, 0.0), (2.0, 2.0), (7.0, LOG_SCALE_LIMIT)):
        with torch.no_grad():
            scale.fill_(start)
        objective.after_step()
        assert scale.item() == pytest.approx(end)


def test_the_towers_have_the_releases_sizes_unless_the_backbone_is_smaller(
    small_config: Callable[..., TrainConfig],
) -> None:
    wide = small_config({"objective.name": "clip", "model.width": 768, "model.heads": 12})
    assert wide.objective.text_size(wide.model) == (512, 8)
    narrow = small_config({"objective.name": "clip"})
    assert narrow.objective.text_size(narrow.model) == (32, 1)
    for overrides, message in (
        ({"objective.text_heads": 5}, r"objective\.text_heads: 5 must divide the text tower's width, 32; set it"),
        ({"objective.context": 2}, r"objective\.context: must be at least 3"),
    ):
        with pytest.raises(ValueError, match=message):
            small_config({"objective.name": "clip", **overrides})


def test_weights_of_the_release_go_by_width(small_config: Callable[..., TrainConfig]) -> None:
    student = made(small_config({**CLIP, "objective.text_width": 128})).student
    block, into_stream = student.text.blocks[1], (2 * 2 * 128) ** -0.5
    for part, std in (
        (block.qkv, 128**-0.5),
        (block.rise, 256**-0.5),
        (block.out, into_stream),
        (block.fall, into_stream),
        (student.text_projection, 128**-0.5),
        (student.image_projection, 32**-0.5),
    ):
        assert part.weight.std().item() == pytest.approx(std, rel=0.1)
    assert student.text.positions.std().item() == pytest.approx(0.01, rel=0.1)
