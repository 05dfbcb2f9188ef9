"""MAE: loss and gradient from its definition, however the batch is cut; the encoder sees visible patches only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slow_features
import torch
from cuts import ALL_ON, CUTS, IMAGES, VIEWS, agree, draw_batch, gradient, made
from torch import Tensor

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.cells import draw_masks
from synfarm_trainer.data.cropids import CropIds
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch

MAE: dict[str, object] = {
    **ALL_ON,
    "objective.name": "mae",
    "objective.decoder_depth": 1,
    "model.patch": 4,
    "mask.images": 1.0,
    "mask.ratio": [0.75, 0.75],
}


@pytest.fixture
def config(small_config: Callable[..., TrainConfig]) -> TrainConfig:
    return small_config(MAE)


def batch_of(config: TrainConfig) -> TensorBatch:
    image = np.arange(IMAGES)
    ids = CropIds.of(np.ones_like(image), image // VIEWS, image % VIEWS, [0])
    return draw_batch(config, torch.from_numpy(draw_masks(config, 1, 0, ids)))


def encoded(backbone: Any, image: Tensor, visible: Tensor, weights: Tensor) -> Tensor:
    """One image's class token and visible patches; ``weights`` (depth, 2) of branches, 0 of those that are dropped."""
    x = backbone.patch_embed(image[None]).reshape(1, -1, backbone.embed_dim) + backbone.pos_embed[:, 1:]
    x = torch.cat([backbone.cls_token + backbone.pos_embed[:, :1], x[:, visible]], dim=1)
    for block, (attention, mlp) in zip(backbone.blocks, weights, strict=True):
        x = x + attention * block.attn(block.norm1(x))
        x = x + mlp * block.mlp(block.norm2(x))
    return backbone.norm(x)[0]


def by_definition(config: TrainConfig, batch: TensorBatch, objective: Any) -> Tensor:
    """Image by image and patch by patch."""
    student, decoder, patch = objective.student, objective.student.decoder, config.model.patch
    grid, losses = config.augment.size // patch, []
    images = normalise(batch.pixels, torch.float64)
    weights = batch.kept / batch.kept.double().mean(dim=0)
    for image, mask, branches in zip(images, batch.masks, weights, strict=True):
        seen = decoder.embed(encoded(student.backbone, image, ~mask, branches))
        rows, following = [seen[0]], 1
        for hidden in mask.tolist():
            rows.append(decoder.mask_token[0] if hidden else seen[following])
            following += not hidden
        painted = decoder.predict(decoder.norm(decoder.blocks((torch.stack(rows) + decoder.positions)[None])))[0, 1:]
        for place in mask.nonzero().flatten().tolist():
            top, left = patch * (place // grid), patch * (place % grid)
            pixels = image[:, top : top + patch, left : left + patch].permute(1, 2, 0).reshape(1, -1)
            losses.append(slow_features.masked_pixels(painted[place][None], pixels, True)[0])
    return torch.stack(losses).mean()


def test_loss_and_gradient_are_those_of_the_definition_at_any_cut(config: TrainConfig, on_ranks: Any) -> None:
    batch, objective = batch_of(config), made(config)
    assert set(batch.masks.sum(dim=1).tolist()) == {12}
    loss = by_definition(config, batch, objective)
    loss.backward()
    for world, captions in CUTS:
        found = gradient(on_ranks, config, batch, world=world, captions=captions)
        agree(found, objective.student, {"pixels": loss})
    assert found.terms.monitors["mask_share"] == 0.75
    assert found.terms.monitors["class_spread"] > 0.1


def test_what_is_hidden_changes_nothing_that_the_encoder_makes(config: TrainConfig) -> None:
    batch, student = batch_of(config), made(config).student
    images = normalise(batch.pixels, torch.float64)
    pixel = batch.masks.reshape(-1, 4, 4).repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)[:, None]
    changed = torch.where(pixel, -images, images)
    assert torch.equal(student(images, batch.masks)[0], student(changed, batch.masks)[0])
    assert not torch.equal(student(images, batch.masks)[0], student(-images, batch.masks)[0])


def test_the_decoder_is_as_wide_as_the_backbone_or_as_in_the_paper(small_config: Callable[..., TrainConfig]) -> None:
    for changes, size in (
        ({}, (32, 1)),
        ({"model.width": 768, "model.heads": 12}, (512, 16)),
        ({"objective.decoder_width": 24, "objective.decoder_heads": 3}, (24, 3)),
    ):
        found = small_config({**MAE, **changes})
        assert found.objective.decoder_size(found.model) == size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask.images": 0.5}, r"mask\.images: mae hides patches of every image; set it to 1"),
        ({"mask.ratio": [0.5, 0.75]}, r"mask\.ratio: .* set both ends of it alike"),
        ({"mask.ratio": [1.0, 1.0]}, r"mask\.ratio: mae sees a part of every image"),
        ({"objective.decoder_heads": 5}, r"objective\.decoder_heads: 5 must divide the decoder's width, 32"),
        ({"objective.decoder_depth": 0}, r"objective\.decoder_depth: must be at least 1"),
    ],
)
def test_a_wrong_configuration_is_named(
    small_config: Callable[..., TrainConfig], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small_config({**MAE, **changes})
