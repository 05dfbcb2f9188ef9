"""Masked patches are chosen by places that the host has counted: a device is never asked how many there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from cuts import ALL_ON, draw_batch, uneven_masks
from torch import Tensor

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.models.places import chosen_patches, places_of
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.registry import build_objective

META = torch.device("meta")
"""A device without data: whatever needs a value of a tensor, as a number of rows does, is an error."""


def test_places_choose_what_masks_do_with_the_same_gradient_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(6, 9, generator=generator) < 0.4
    masks[2], masks[4] = False, True
    one = torch.randn(6, 10, 5, generator=generator).requires_grad_()
    other = one.detach().clone().requires_grad_()
    by_masks, by_places = one[:, 1:][masks], chosen_patches(other, places_of(masks, masks.device))
    assert torch.equal(by_masks, by_places)
    weights = torch.randn(by_masks.shape, generator=generator)
    for found in (by_masks, by_places):
        (found * weights).sum().backward()
    assert one.grad is not None
    assert other.grad is not None
    assert torch.equal(one.grad, other.grad)
    assert chosen_patches(other, places_of(torch.zeros_like(masks), masks.device)).shape == (0, 5)


def _on_meta(batch: TensorBatch) -> TensorBatch:
    """As :func:`~synfarm_trainer.landing.land` leaves it on a device: branches and masks on the host too."""
    moved = {
        f.name: found.to(META)
        for f in fields(batch)
        if isinstance(found := getattr(batch, f.name), Tensor) and "kept" not in f.name
    }
    return replace(batch, **moved, host_masks=batch.masks)


@pytest.fixture
def setting(small_config: Callable[..., TrainConfig]) -> Callable[..., tuple[Any, TensorBatch]]:
    """(objective, further settings) to that objective and a part of its batch, both without data."""

    def make(name: str, **more: object) -> tuple[Any, TensorBatch]:
        config = small_config({**ALL_ON, "objective.name": name, **more})
        masks = uneven_masks(config)
        if name == "mae":
            masks = torch.zeros_like(masks)
            masks[:, ::2] = True
        objective: Any = build_objective(config, seed=5, concepts=3)
        for network in (objective.student, objective.teacher):
            if network is not None:
                network.to(META)
        return objective, _on_meta(draw_batch(config, masks)).part(4, 12)

    return make


def test_passes_of_synclr_wait_for_nothing(setting: Callable[..., tuple[Any, TensorBatch]]) -> None:
    objective, part = setting("synclr", **{"objective.ibot_weight": 1.0})
    images = normalise(part.pixels)
    keys, seen = objective.teacher(images, part.places)
    anchors, predicted = objective.student(images, part.masks, part.kept, places=part.places)
    hidden = int(part.masked.sum())
    assert hidden > 0
    assert (len(keys), len(anchors), len(seen), len(predicted)) == (8, 8, hidden, hidden)


def test_passes_of_dinov2_wait_for_nothing(setting: Callable[..., tuple[Any, TensorBatch]]) -> None:
    objective, part = setting("dinov2", **{"data.crops": 2})
    _, seen = objective.teacher(part)
    tokens, _ = objective.student(part)
    assert len(seen) == len(chosen_patches(tokens, part.places)) == int(part.masked.sum())


def test_passes_of_mae_wait_for_nothing(setting: Callable[..., tuple[Any, TensorBatch]]) -> None:
    objective, part = setting("mae", **{"local_crops.count": 0, "mask.images": 1.0, "mask.ratio": [0.5, 0.5]})
    painted, _ = objective.student(normalise(part.pixels), part.masked, part.kept)
    assert len(painted) == int(part.masked.sum())
