"""Everything that a resumed run needs: as named tensors, and back from the files of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import AdamW

from synfarm_trainer.collapse import CollapseState
from synfarm_trainer.objectives.protocol import Objective
from synfarm_trainer.optim import load_moments, moments
from synfarm_trainer.shares import COUNTERS, part_of
from synfarm_trainer.tensor_files import tensors_in

__all__ = ["alarms_in", "counters", "restore", "state_tensors", "tensors_of"]


def tensors_of(module: nn.Module) -> bytes:
    """A module's parameters, and whatever else it holds that training moves (buffers), as safetensors by name."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()})


def state_tensors(objective: Objective, optimizer: AdamW) -> dict[str, Tensor]:
    """``<part>.<name>``, where they lie: the next step moves them. The data state is the step alone."""
    student, teacher = objective.student, objective.teacher
    held = {f"student.{name}": tensor for name, tensor in student.state_dict().items()}
    if teacher is not None:
        held |= {f"teacher.{name}": tensor for name, tensor in teacher.state_dict().items()}
    return held | {f"optimizer.{name}": tensor for name, tensor in moments(student, optimizer).items()}


def counters(*, refilled: int, alarms: CollapseState | None = None) -> bytes:
    """What is no tensor."""
    more = {} if alarms is None else {"alarms": alarms.model_dump(mode="json")}
    return json.dumps({"refilled": refilled, **more}).encode()


def alarms_in(files: Mapping[str, bytes]) -> CollapseState:
    """Of a checkpoint; an older one has none, and they begin anew."""
    return CollapseState.model_validate(json.loads(files[COUNTERS]).get("alarms", {}))


@torch.no_grad()
def restore(objective: Objective, optimizer: AdamW, files: Mapping[str, bytes]) -> int:
    """Load a checkpoint of any number of ranks into an objective of the same shape; the samples refilled so far.

    Raises:
        KeyError, RuntimeError: a file or a tensor is missing, or a shape differs.
        ValueError: a file is not what its name says.
    """
    objective.student.load_state_dict(_merged("student", files))
    if objective.teacher is not None:
        objective.teacher.load_state_dict(_merged("teacher", files))
    load_moments(objective.student, optimizer, _merged("optimizer", files))
    refilled: int = json.loads(files[COUNTERS])["refilled"]
    return refilled


def _merged(part: str, files: Mapping[str, bytes]) -> dict[str, Tensor]:
    """The tensors of a part, of all its files."""
    found: dict[str, Tensor] = {}
    for file in part_of(part, files):
        try:
            found |= tensors_in(files[file])
        except ValueError as error:
            cure = "its hash is right, so it was written so; delete the checkpoint's commit.json to go on from another"
            raise ValueError(f"the checkpoint's {file} is no safetensors file ({error}); {cure}") from error
    return found
