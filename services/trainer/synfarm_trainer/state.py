"""Everything that a resumed run needs, as the files of a checkpoint and back."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from safetensors.torch import load, save
from torch import nn
from torch.optim import AdamW

from synfarm_trainer.objectives.protocol import Objective
from synfarm_trainer.optim import load_moments, moments

__all__ = ["restore", "snapshot", "tensors_of"]


def tensors_of(module: nn.Module) -> bytes:
    """A module's parameters, and whatever else it holds that training moves (buffers), as safetensors by name."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()})


def snapshot(objective: Objective, optimizer: AdamW, *, refilled: int) -> dict[str, bytes]:
    """Files by name. The data state is the step alone, which the commit holds."""
    student, teacher = objective.student, objective.teacher
    return {
        "student.safetensors": tensors_of(student),
        **({} if teacher is None else {"teacher.safetensors": tensors_of(teacher)}),
        "optimizer.safetensors": save(moments(student, optimizer)),
        "state.json": json.dumps({"refilled": refilled}).encode(),
    }


@torch.no_grad()
def restore(objective: Objective, optimizer: AdamW, files: Mapping[str, bytes]) -> int:
    """Load a snapshot into an objective of the same shape; the number of samples refilled so far.

    Raises:
        KeyError: a file or tensor is missing.
        RuntimeError: a shape differs.
    """
    objective.student.load_state_dict(load(files["student.safetensors"]))
    if objective.teacher is not None:
        objective.teacher.load_state_dict(load(files["teacher.safetensors"]))
    load_moments(objective.student, optimizer, load(files["optimizer.safetensors"]))
    refilled: int = json.loads(files["state.json"])["refilled"]
    return refilled
