"""One of four processes that are joined by gloo: gradients of every case at one to four ranks, written to a file.

Run by ``test_real_ranks.py``: ``python real_ranks.py PROCESS FOLDER``. ``cases.json`` in the folder has the cases.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from cuts import draw_batch, image_ids, made, uneven_masks
from torch import Tensor

from synfarm_trainer.config import ExecutionConfig, TrainConfig, from_dict
from synfarm_trainer.data.cells import draw_masks
from synfarm_trainer.data.cropids import CropIds, global_crops
from synfarm_trainer.data.texts import encode_text
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.parallel import parallelize
from synfarm_trainer.ranks import Ranks

WORLDS = 4


def by_cells(config: TrainConfig) -> Tensor:
    """As the loader draws them."""
    index, k = image_ids(config)
    drawn = draw_masks(config, 1, 0, CropIds.of(np.ones_like(index), index, k, global_crops(config.data.crops)))
    assert drawn is not None
    return torch.from_numpy(drawn)


def in_part(start: float, stop: float) -> Callable[[TrainConfig], Tensor]:
    """Masks in a part of the batch alone."""

    def masks(config: TrainConfig) -> Tensor:
        found = by_cells(config)
        rows = torch.arange(len(found)) / len(found)
        return found & ((start <= rows) & (rows < stop))[:, None]

    return masks


MASKS: Mapping[str, Callable[[TrainConfig], Tensor]] = {
    "uneven": uneven_masks,
    "by cells": by_cells,
    "first quarter": in_part(0, 0.25),
    "last quarter": in_part(0.75, 1),
    "none": in_part(0, 0),
}
LABELS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "one twice": lambda captions: torch.where(captions == captions.max(), 2, captions),
    "apart": lambda captions: captions,
    "alike at first": lambda captions: (captions - 2).clamp(min=0),
    "alike at last": lambda captions: captions.clamp(max=len(captions) - 4),
    "every fifth": lambda captions: captions % 5,
}
"""Of equal shape, and with more than one rank each rank's pattern differs from those of the others."""


def batch_of(config: TrainConfig, labels: str, masks: str) -> TensorBatch:
    """The global batch, with everything that any objective reads."""
    captions = torch.arange(config.data.captions_per_batch)
    each, text = config.crops_of_caption, config.objective.text_context
    texts = [torch.from_numpy(encode_text("x y" * (place % 7), text)) for place in captions.tolist()] if text else []
    return replace(
        draw_batch(config, MASKS[masks](config) if config.uses_masks else None),
        labels=LABELS[labels](captions).repeat_interleave(each) * 7 + 1,
        concepts=(captions**2 % 3).repeat_interleave(each),
        texts=torch.stack(texts) if texts else None,
    )


def step(objective: Any, batch: TensorBatch, ranks: Ranks, micro_crops: int) -> dict[str, Tensor]:
    """What all ranks together made of the batch, as the training loop adds it up."""
    share = len(batch) // ranks.world
    part = batch.part(ranks.rank * share, (ranks.rank + 1) * share)
    terms = objective.accumulate_gradients(part, ranks, step=0, micro_crops=micro_crops)
    parameters = {name: p for name, p in objective.student.named_parameters() if p.requires_grad}
    ranks.sum_gradients(list(parameters.values()))
    found = {f"gradient/{name}": p.grad.clone() for name, p in parameters.items()}
    for name, loss in terms.losses.items():
        found[f"loss/{name}"] = ranks.gather(loss[None]).sum()
    if objective.teacher is not None:
        found |= {f"buffer/{name}": buffer.clone() for name, buffer in objective.teacher.named_buffers()}
    monitors = torch.tensor(list(terms.monitors.values()), dtype=torch.float64)
    found["monitors"] = ranks.gather(monitors[None]).mean(dim=0)
    objective.student.zero_grad(set_to_none=True)
    return found


def of_case(case: dict[str, Any], ranks: Ranks) -> dict[str, Tensor]:
    """By ``captions in a micro-batch/number of the batch/what``: batches of one objective, one after another."""
    config, found = from_dict(case["config"]), {}
    for captions in case["micro"][str(ranks.world)]:
        objective = made(config)
        joined = parallelize(objective.student, ranks, ExecutionConfig(parallel=case["parallel"]))
        assert (joined is ranks) == (ranks.world == 1 or case["parallel"] == "ordered")
        for place, (labels, masks) in enumerate(case["batches"]):
            batch = batch_of(config, labels, masks)
            numbers = step(objective, batch, joined, captions * config.crops_of_caption)
            found |= {f"{captions}/{place}/{name}": tensor for name, tensor in numbers.items()}
    return found


def main(process: int, folder: Path) -> None:
    torch.set_num_threads(1)
    cases, found = json.loads((folder / "cases.json").read_text()), {}
    # The last process is free while two and three of them meet, so it has what one rank makes alone.
    for world in range(1, WORLDS + 1):
        rank = process - WORLDS + 1 if world == 1 else process
        if not 0 <= rank < world:
            continue
        if world > 1:
            meeting, patience = f"file://{folder}/meeting-{world}", timedelta(seconds=200)
            dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world, timeout=patience)
        for name, case in cases.items():
            for key, tensor in of_case(case, Ranks(rank, world)).items():
                found[f"{name}/{world}/{key}"] = tensor.numpy()
        if world > 1:
            dist.barrier()
            dist.destroy_process_group()
    np.savez(folder / f"process{process}.npz", **found)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
