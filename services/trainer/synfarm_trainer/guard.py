"""What refuses a step, or a checkpoint, that holds NaN or an infinity, and says where it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor

from synfarm_trainer.objectives.protocol import Objective
from synfarm_trainer.objectives.term_gradients import not_finite

__all__ = ["NonFinite", "Step", "check_state", "gradient_words", "hold", "loss_words"]

_CURE = "lower optim.lr, lengthen schedule.warmup_steps or set optim.clip_norm"


class NonFinite(Exception):
    """A loss term, a gradient or a weight is NaN or infinite; raised before it can reach a checkpoint."""


class Step:
    """The buffers that a step's passes may move (centers, running statistics), as they were before it."""

    def __init__(self, objective: Objective) -> None:
        modules = [objective.student, *([] if objective.teacher is None else [objective.teacher])]
        self._buffers = list(chain.from_iterable(module.buffers() for module in modules))
        self._before = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def take_back(self) -> None:
        """As if the passes had not been."""
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(before)


def hold(objective: Objective) -> Step:
    """Remember what the step that begins now may move before its optimiser does."""
    return Step(objective)


def loss_words(step: int, losses: Mapping[str, float]) -> str | None:
    """What is wrong with a step's terms, each by its name; None if nothing is."""
    bad = {name: value for name, value in losses.items() if not math.isfinite(value)}
    if len(bad) > 1:
        bad.pop("total", None)
    told = ", ".join(f"{name} is {value}" for name, value in bad.items())
    return f"{told} at step {step}; {_CURE}" if bad else None


def gradient_words(step: int, norm: float, faults: Mapping[str, Sequence[str]]) -> str:
    """
    Args:
        faults: parameters by the term whose gradient is not finite in them; nothing if only their sum is not.
    """
    told = [f"the gradient of {term} in {_some(where)}" for term, where in faults.items()]
    return f"the gradient's norm is {norm} at step {step}{': ' * bool(told)}{', '.join(told)}; {_CURE}"


def check_state(step: int, state: Mapping[str, Tensor]) -> None:
    """What a checkpoint is about to hold.

    Raises:
        NonFinite: something of it is NaN or infinite; the message names the tensors.
    """
    if not state:
        return
    # One pass and one transfer: where a sum is finite, so is all that was added up.
    device = next(iter(state.values())).device
    sums = torch.stack([tensor.sum(dtype=torch.float32).to(device) for tensor in state.values()])
    doubtful = [name for name, fine in zip(state, sums.isfinite().tolist(), strict=True) if not fine]
    if bad := not_finite({name: state[name] for name in doubtful}):
        raise NonFinite(f"{_some(bad)} after step {step} would spoil a checkpoint, which is not written; {_CURE}")


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more tensors"
