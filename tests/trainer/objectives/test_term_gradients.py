"""The norm of each term's own gradient: from the definitions, at any cut, and training does not notice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import slow_distilled
import slow_features
import torch
from cuts import ALL_ON, CAPTIONS, CELL, CUTS, IMAGES, VIEWS, draw_batch, made, uneven_masks
from torch import Tensor

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

DINOV2: dict[str, object] = {
    **ALL_ON,
    "objective.name": "dinov2",
    "data.crops": 2,
    "objective.ibot_weight": 1.3,
    "objective.koleo_weight": 0.3,
    "objective.prototypes": 6,
    "objective.prototype_hidden": 12,
    "objective.prototype_bottleneck": 8,
}
SYNCLR: dict[str, object] = {
    **ALL_ON,
    "objective.local_weight": 0.7,
    "objective.ibot_weight": 1.3,
    "objective.prototypes": 6,
    "objective.patch_hidden": 12,
    "objective.patch_bottleneck": 8,
}
Told = tuple[dict[str, float], dict[str, Tensor]]


def told(on_ranks: Any, config: TrainConfig, batch: TensorBatch, world: int, captions: int, look: bool = True) -> Told:
    """What the first rank says, and its own part of the gradient."""
    share = len(batch) // world

    def rank(ranks: Ranks) -> Told:
        objective = made(config)
        separate = TermGradients(objective.student) if look else None
        part = batch.part(ranks.rank * share, (ranks.rank + 1) * share)
        micro = captions * config.crops_of_caption
        objective.accumulate_gradients(part, ranks, step=0, micro_crops=micro, separate=separate)
        grads = {name: p.grad for name, p in objective.student.named_parameters() if p.grad is not None}
        return ({} if separate is None else separate.norms(ranks)), grads

    everyone = on_ranks(world, rank)
    assert all(norms == everyone[0][0] for norms, _ in everyone), "the same on every rank"
    return everyone[0]


def slow_norms(terms: Mapping[str, Tensor], student: torch.nn.Module) -> dict[str, float]:
    """Each term differentiated alone."""
    parameters = [p for p in student.parameters() if p.requires_grad]
    norms = {}
    for name, term in terms.items():
        grads = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        norms[name] = sum(float((g**2).sum()) for g in grads if g is not None) ** 0.5
    return norms


def test_norms_are_those_of_the_terms_differentiated_alone_at_any_cut(
    small_config: Callable[..., TrainConfig], on_ranks: Any
) -> None:
    config = small_config(DINOV2)
    batch, objective = draw_batch(config, uneven_masks(config)), made(config)
    seen = slow_distilled.by_definition(config, batch, objective)
    koleo = []
    for crop in range(2):
        own = seen.classes[torch.arange(IMAGES) * 2 + crop]
        koleo.append(torch.cat([slow_features.koleo(cell) for cell in own.split(CELL * VIEWS)]).mean())
    wanted = slow_norms({"dino": seen.across, "ibot": 1.3 * seen.within, "koleo": 0.3 * sum(koleo)}, objective.student)
    assert len(set(wanted.values())) == 3
    for world, captions in CUTS:
        norms, _ = told(on_ranks, config, batch, world, captions)
        assert norms == pytest.approx(wanted, rel=1e-6), (world, captions)


@pytest.mark.parametrize("overrides", [SYNCLR, DINOV2], ids=["synclr", "dinov2"])
def test_terms_add_up_to_a_gradient_that_is_the_same_bits_unwatched(
    small_config: Callable[..., TrainConfig], on_ranks: Any, overrides: dict[str, object]
) -> None:
    config = small_config(overrides)
    masks = uneven_masks(config)
    if config.objective.name == "synclr":
        masks[:] = masks[:1].roll(1, 1) | (torch.arange(config.patches) == 1)  # as many masked images in each share
    batch = draw_batch(config, masks)
    whole, _ = told(on_ranks, config, batch, 1, CAPTIONS)
    for world, captions in CUTS:
        norms, watched = told(on_ranks, config, batch, world, captions)
        _, unwatched = told(on_ranks, config, batch, world, captions, look=False)
        assert watched.keys() == unwatched.keys()
        assert all(torch.equal(watched[name], unwatched[name]) for name in watched)
        assert norms == pytest.approx(whole, rel=1e-5)
        if world > 1:
            continue
        objective = made(config)
        separate = TermGradients(objective.student)
        micro = captions * config.crops_of_caption
        objective.accumulate_gradients(batch, Ranks(), step=0, micro_crops=micro, separate=separate)
        flat = torch.cat([p.grad.reshape(-1) for p in objective.student.parameters() if p.requires_grad])
        torch.testing.assert_close(sum(total for _, total in separate.sums(Ranks())), flat, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "overrides",
    [
        {"objective.name": "stablerep"},
        {"objective.name": "simclr", "data.crops": 2},
        {"objective.name": "moco_v3", "data.crops": 2},
        {"objective.name": "dino", "data.crops": 2},
        {"objective.name": "mae", "mask.images": 1.0, "mask.ratio": [0.5, 0.5]},
    ],
    ids=lambda value: str(value["objective.name"]),
)
def test_a_single_term_costs_no_backward_more(
    small_config: Callable[..., TrainConfig], on_ranks: Any, overrides: dict[str, object]
) -> None:
    config = small_config({**ALL_ON, **overrides})
    masks = None
    if config.uses_masks:
        masks = (torch.arange(config.patches) % 2 == 0).expand(IMAGES, -1).clone()
    norms, _ = told(on_ranks, config, draw_batch(config, masks), 2, CELL)
    assert norms == {}
