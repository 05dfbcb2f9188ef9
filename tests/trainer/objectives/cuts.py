"""A batch with everything on, and the gradient that an objective makes of it on so many ranks and micro-batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.cells import draw_kept
from synfarm_trainer.data.cropids import CropIds, global_crops
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.protocol import Objective, StepTerms
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.ranks import Ranks

CAPTIONS, VIEWS, CELL, LOCAL = 12, 2, 2, 2
IMAGES = CAPTIONS * VIEWS
TOLERANCE = 1e-10
ALL_ON: dict[str, object] = {
    "data.captions_per_batch": CAPTIONS,
    "data.cell_captions": CELL,
    "data.views": VIEWS,
    "local_crops.count": LOCAL,
    "local_crops.size": 8,
    "model.drop_path": 0.4,
}
CUTS = ((1, CAPTIONS), (1, CELL), (1, 5 * CELL), (2, CELL), (3, 2 * CELL), (3, CELL))
"""(ranks, captions in a micro-batch)."""


class Found(NamedTuple):
    """Sums over ranks, and what the first rank is left with."""

    gradient: dict[str, Tensor]
    losses: dict[str, float]
    objective: Objective
    terms: StepTerms


def image_ids(config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Caption and number of each image."""
    captions, views = config.data.captions_per_batch, config.data.views
    return np.arange(captions).repeat(views), np.tile(np.arange(views), captions)


def draw_batch(config: TrainConfig, masks: Tensor | None = None) -> TensorBatch:
    """Branches are dropped as the loader drops them; one caption stands twice, across shares of ranks."""
    generator = torch.Generator().manual_seed(1)
    captions, views, crops = config.data.captions_per_batch, config.data.views, config.data.crops
    images = captions * views

    def pixels(count: int, size: int) -> Tensor:
        return torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)

    def kept(numbers: list[int]) -> Tensor | None:
        ids = CropIds.of(np.ones(images, dtype=np.int64), *image_ids(config), numbers)
        drawn = draw_kept(config, 1, 0, ids, config.data.cell_captions * views * len(numbers))
        return None if drawn is None else torch.from_numpy(drawn)

    labels = torch.arange(captions)
    labels[-1] = 2
    local = config.local_count
    return TensorBatch(
        pixels=pixels(images * crops, config.augment.size),
        labels=labels.repeat_interleave(views * crops) * 7 + 1,
        crops=crops,
        views=views,
        local_pixels=pixels(images * local, config.local_crops.size) if local else None,
        masks=masks,
        kept=kept(global_crops(crops)),
        local_kept=kept(list(range(1, 1 + local))) if local else None,
    )


def uneven_masks(config: TrainConfig) -> Tensor:
    """Of 0 to all patches of a crop; none at all in the last third of the batch."""
    generator = torch.Generator().manual_seed(2)
    crops = config.data.captions_per_batch * config.crops_of_caption
    masks = torch.zeros(crops, config.patches, dtype=torch.bool)
    for crop in range(len(masks) * 2 // 3):
        masks[crop, torch.randperm(config.patches, generator=generator)[: crop % (config.patches + 1)]] = True
    return masks


def made(config: TrainConfig) -> Any:
    """An objective in float64 whose teacher has left the student, and whose centers have left zero."""
    objective: Any = build_objective(config, seed=5, concepts=3)
    objective.student.double()
    if objective.teacher is not None:
        objective.teacher.double()
        with torch.no_grad():
            for parameter in objective.teacher.parameters():
                parameter.mul_(1.1)
            for buffer in objective.teacher.buffers():
                buffer.copy_(torch.linspace(-0.1, 0.2, len(buffer)))
    return objective


def gradient(
    on_ranks: Any, config: TrainConfig, batch: TensorBatch, *, world: int = 1, captions: int = CAPTIONS, step: int = 0
) -> Found:
    """Every rank has networks of its own."""
    share = len(batch) // world

    def rank(ranks: Ranks) -> tuple[Objective, StepTerms]:
        objective = made(config)
        part = batch.part(ranks.rank * share, (ranks.rank + 1) * share)
        micro = captions * config.crops_of_caption
        return objective, objective.accumulate_gradients(part, ranks, step=step, micro_crops=micro)

    done = on_ranks(world, rank)
    total: dict[str, Tensor] = {}
    for objective, _ in done:
        assert objective.teacher is None or all(p.grad is None for p in objective.teacher.parameters())
        for name, parameter in objective.student.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
            if parameter.grad is not None:
                total[name] = total.get(name, torch.zeros_like(parameter)) + parameter.grad
    losses = {name: float(sum(terms.losses[name] for _, terms in done)) for name in done[0][1].losses}
    return Found(total, losses, *done[0])


def agree(found: Found, student: torch.nn.Module, losses: dict[str, Tensor]) -> None:
    """``student`` holds the gradient of the definition, ``losses`` are its terms."""
    assert found.losses.keys() == losses.keys()
    for name, loss in losses.items():
        assert abs(found.losses[name] - loss.item()) < TOLERANCE, name
    wanted = {name: p.grad for name, p in student.named_parameters() if p.requires_grad}
    assert wanted.keys() == found.gradient.keys()
    for name, right in wanted.items():
        # timm resamples positions for local crops in float32.
        tolerance = 1e-6 if name.endswith("pos_embed") else TOLERANCE
        assert float((found.gradient[name] - right).abs().max()) < tolerance, name
