"""Objectives without a teacher: their loss from its definition, and one gradient however the batch is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.cells import draw_kept
from synfarm_trainer.data.cropids import CropIds, global_crops
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.protocol import Objective, StepTerms
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.overrides import apply_overrides
from synfarm_trainer.ranks import Ranks

CAPTIONS, VIEWS, CONCEPTS = 12, 2, 3
TOLERANCE = 1e-10


def config_of(small_config: Callable[..., TrainConfig], name: str) -> TrainConfig:
    crops = 2 if name == "simclr" else 1
    changes: dict[str, object] = {"objective.name": name, "data.crops": crops}
    small = small_config(
        {
            "data.captions_per_batch": CAPTIONS,
            "data.cell_captions": 1,
            "data.views": VIEWS,
            "model.drop_path": 0.4,
        }
    )
    return apply_overrides(small, changes)


def batch_of(config: TrainConfig) -> TensorBatch:
    """Captions of which two stand twice, once within a rank's share and once across shares; uneven concepts."""
    generator = torch.Generator().manual_seed(1)
    images, crops, size = CAPTIONS * VIEWS, config.data.crops, config.augment.size
    index, k = np.arange(CAPTIONS).repeat(VIEWS), np.tile(np.arange(VIEWS), CAPTIONS)
    ids = CropIds.of(np.ones(images, dtype=np.int64), index, k, global_crops(crops))
    kept = draw_kept(config, 1, 0, ids, config.cell_images)
    captions = torch.arange(CAPTIONS)
    captions[1], captions[-1] = 0, 2
    return TensorBatch(
        pixels=torch.randint(0, 256, (images * crops, size, size, 3), generator=generator, dtype=torch.uint8),
        labels=captions.repeat_interleave(VIEWS * crops) * 7 + 1,
        concepts=(torch.arange(CAPTIONS) ** 2 % CONCEPTS).repeat_interleave(VIEWS * crops),
        crops=crops,
        views=VIEWS,
        kept=None if kept is None else torch.from_numpy(kept),
    )


def objective_of(config: TrainConfig) -> Objective:
    made = build_objective(config, seed=5, concepts=CONCEPTS)
    made.student.double()
    return made


def gradient(
    on_ranks: Any, config: TrainConfig, batch: TensorBatch, *, world: int, micro: int
) -> tuple[dict[str, Tensor], Tensor]:
    share = len(batch) // world

    def rank(ranks: Ranks) -> tuple[Objective, StepTerms]:
        objective = objective_of(config)
        part = batch.part(ranks.rank * share, (ranks.rank + 1) * share)
        return objective, objective.accumulate_gradients(part, ranks, step=0, micro_crops=micro)

    total: dict[str, Tensor] = {}
    loss = torch.zeros((), dtype=torch.float64)
    for objective, terms in on_ranks(world, rank):
        assert objective.teacher is None
        loss += sum(terms.weights[name] * share_of for name, share_of in terms.losses.items())
        for name, parameter in objective.student.named_parameters():
            assert parameter.grad is not None, name
            total[name] = total.get(name, torch.zeros_like(parameter)) + parameter.grad
    return total, loss


def contrast_by_definition(features: Tensor, labels: list[int], temperature: float) -> Tensor:
    """Method section 3.5: for each anchor the mean over its positives of -log softmax over all but itself."""
    losses = []
    for i, anchor in enumerate(features):
        others = [j for j in range(len(features)) if j != i]
        scores = [anchor @ features[j] / temperature for j in others]
        normaliser = torch.log(sum(torch.exp(score) for score in scores))
        positives = [score for score, j in zip(scores, others, strict=True) if labels[j] == labels[i]]
        losses.append(sum(normaliser - score for score in positives) / len(positives))
    return sum(losses) / len(losses)


def by_definition(config: TrainConfig, batch: TensorBatch) -> tuple[dict[str, Tensor], Tensor]:
    objective = objective_of(config)
    student: Any = objective.student
    images = normalise(batch.pixels, torch.float64)
    if config.objective.name == "supce":
        logits = student(images, batch.kept)
        picked = [-row.log_softmax(0)[int(c)] for row, c in zip(logits, batch.concepts, strict=True)]
        loss = sum(picked) / len(picked)
    else:
        tokens = student.backbone.tokens(images, kept=batch.kept)[:, 0]
        projected = student.projector(tokens)
        features = projected / projected.norm(dim=1, keepdim=True)
        labels = batch.labels.tolist()
        if config.objective.name == "simclr":
            labels = [crop // 2 for crop in range(len(batch))]
        loss = contrast_by_definition(features, labels, 0.1)
    loss.backward()
    return {name: p.grad for name, p in student.named_parameters()}, loss.detach()


@pytest.mark.parametrize("name", ["stablerep", "simclr", "supce"])
def test_loss_and_gradient_are_those_of_the_definition_at_any_cut(
    small_config: Callable[..., TrainConfig], on_ranks: Any, name: str
) -> None:
    config = config_of(small_config, name)
    batch, each = batch_of(config), config.crops_of_caption
    wanted, loss = by_definition(config, batch)
    for world, micro in ((1, len(batch)), (1, each), (1, 5 * each), (2, 2 * each), (3, 4 * each), (4, each)):
        found, told = gradient(on_ranks, config, batch, world=world, micro=micro)
        assert abs(float(told - loss)) < TOLERANCE, (world, micro)
        worst = max(float((found[n] - wanted[n]).abs().max()) for n in wanted)
        assert worst < TOLERANCE, (world, micro)


def test_another_objective_keeps_the_widths_of_the_preset_and_takes_its_own_numbers(
    small_config: Callable[..., TrainConfig],
) -> None:
    config = small_config({"objective.name": "stablerep", "objective.temperature": 0.2})
    assert config.objective.name == "stablerep"
    assert (config.objective.head_hidden, config.objective.temperature) == (32, 0.2)
    assert small_config({"objective.name": "stablerep"}).objective.temperature == 0.1
    for overrides, message in (
        ({"objective.name": "simclr"}, r"data\.crops: simclr compares crops of one image; use at least 2"),
        ({"objective.name": "stablerep", "data.views": 1}, r"data\.views: .*stablerep.* at least 2"),
        ({"objective.name": "stablrep"}, r"objective\.name: no objective 'stablrep'; did you mean stablerep"),
        ({"objective.name": "stablerep", "objective.prototypes": 9}, r"objective\.prototypes: no such field"),
    ):
        with pytest.raises(ValueError, match=message):
            small_config(overrides)


def test_supce_needs_two_concepts(small_config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(ValueError, match=r"objective\.name: supce tells concepts apart, the dataset has 1"):
        build_objective(config_of(small_config, "supce"), seed=0, concepts=1)
