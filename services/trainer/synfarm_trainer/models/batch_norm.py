"""Batch normalisation whose statistics are those of all ranks' crops, with its own gradient.

torch's SyncBatchNorm refuses CPUs, and adds up in an order that is not ours. Here each rank tells its own mean and
squared deviations once, and in the backward pass two sums once; both are added in rank order, so all ranks find the
same bits. Every rank must make as many passes as every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from synfarm_trainer.ranks import Ranks

__all__ = ["Among", "BatchNorm"]


@dataclass(frozen=True, slots=True)
class Among:
    """Whose crops a pass in training is one of; the pass must hold all of the rank's."""

    ranks: Ranks
    captions: int
    """Of this rank. Rows of the pass are caption by caption, as many of each."""


class _Standardise(torch.autograd.Function):
    """(m, groups, width), m of each rank, to the same less the mean over all ranks' m, over the deviation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        own_mean = exact.mean(dim=0)
        own = torch.stack([own_mean, (exact - own_mean).square().sum(dim=0)])
        means, squares = ranks.gather(own[None]).unbind(dim=1)
        mean = means.mean(dim=0)
        variance = (squares.sum(dim=0) / len(x) + (means - mean).square().sum(dim=0)) / ranks.world
        scale = (variance + eps).rsqrt()
        standard = (exact - mean) * scale
        ctx.save_for_backward(standard, scale)
        ctx.ranks = ranks
        ctx.mark_non_differentiable(mean, variance)
        return standard.to(x.dtype), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        standard, scale = ctx.saved_tensors
        exact = given.to(standard.dtype)
        own = torch.stack([exact.mean(dim=0), (exact * standard).mean(dim=0)])
        mean, along = ctx.ranks.gather(own[None]).mean(dim=0)
        return (scale * (exact - mean - standard * along)).to(given.dtype), None, None


class BatchNorm(nn.Module):
    """(n, width) to (n, width). In training by the batch's own statistics, else by the running ones.

    Whether it is training is not a mode: a pass that says among what it is (:class:`Among`) uses the batch, the
    teacher's too, as MoCo v3's does. So a teacher's pass is a function of its input and parameters alone. Running
    statistics are of each network's own passes; with groups they move once a pass, by the groups' mean.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(
        self, width: int, *, affine: bool = True, by_view: bool = True, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        """
        Args:
            by_view: whether crops of the same place in their captions have statistics of their own; else all crops of
                a pass share them.
        """
        super().__init__()
        self.by_view, self.eps, self.momentum = by_view, eps, momentum
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_variance", torch.ones(width))

    def forward(self, x: Tensor, among: Among | None = None) -> Tensor:
        """
        Args:
            among: None outside of training.
        """
        if among is None:
            standard = (x - self.running_mean) * (self.running_variance + self.eps).rsqrt()
        else:
            groups = len(x) // among.captions if self.by_view else 1
            standard, mean, variance = _Standardise.apply(x.view(-1, groups, x.shape[1]), among.ranks, self.eps)
            self._follow(mean, variance, len(x) // groups * among.ranks.world)
            standard = standard.view_as(x)
        if self.weight is None or self.bias is None:
            return standard
        return standard * self.weight + self.bias

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Running statistics one step on; the variance as an estimate without bias, as torch has it."""
        self.running_mean.lerp_(mean.mean(dim=0).to(self.running_mean.dtype), self.momentum)
        unbiased = variance.mean(dim=0) * (count / max(1, count - 1))
        self.running_variance.lerp_(unbiased.to(self.running_variance.dtype), self.momentum)
