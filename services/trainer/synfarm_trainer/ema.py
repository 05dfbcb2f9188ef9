"""The teacher: a moving average of the student's parameters (method section 3.7)."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["copy_into", "update"]


@torch.no_grad()
def copy_into(teacher: nn.Module, student: nn.Module) -> None:
    """The first state of the teacher; it takes no gradient and stays in evaluation mode.

    ``teacher`` holds a subset of the student's parameters under the same names (no predictor).
    """
    theirs = dict(student.named_parameters())
    for name, parameter in teacher.named_parameters():
        parameter.copy_(theirs[name])
        parameter.requires_grad_(False)
    teacher.eval()


@torch.no_grad()
def update(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """``teacher <- momentum * teacher + (1 - momentum) * student``, parameters only, once after each optimiser step."""
    theirs = dict(student.named_parameters())
    mine = list(teacher.named_parameters())
    torch._foreach_lerp_([p for _, p in mine], [theirs[name].detach() for name, _ in mine], 1.0 - momentum)
