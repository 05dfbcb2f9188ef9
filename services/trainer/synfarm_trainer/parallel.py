"""How the ranks of a run share the work on one student; the only place that knows.

Two ways add up gradients, both exact sums over ranks; ``docs/decisions/0010-gradient-reduction.md`` says when to take
which. Another (sharded parameters) would be another branch of :func:`parallelize`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from synfarm_trainer.config import ExecutionConfig
from synfarm_trainer.ranks import Ranks

__all__ = ["parallelize"]


def parallelize(student: nn.Module, ranks: Ranks, config: ExecutionConfig) -> Ranks:
    """``ranks`` as objective and loop are to use them: their ``backward`` and ``sum_gradients`` fit ``student``.

    To be called on every rank, when the student is on its device and what is never trained takes no gradient.
    """
    if ranks.world == 1 or config.parallel == "ordered":
        return ranks
    # Said once a process where nothing is frozen; that it may be is the reason to look.
    warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
    joined = DistributedDataParallel(_Passed(student), find_unused_parameters=True, gradient_as_bucket_view=True)
    joined.register_comm_hook(None, lambda state, bucket: _sum(bucket))
    return _DdpRanks(ranks.rank, ranks.world, joined=joined)


class _Passed(nn.Module):
    """Hands on what was already computed with the student.

    Objectives call many parts of a student, in an order of their own, and some twice. DistributedDataParallel needs
    none of it: only the results, to prepare itself for their backward. Nor are buffers any of its business: a step
    moves them, the same way on every rank.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.moved = nn.ParameterList(student.parameters())

    def forward(self, *roots: Tensor) -> tuple[Tensor, ...]:
        return roots


@dataclass(frozen=True)
class _DdpRanks(Ranks):
    """Gradients are added up in buckets, each as soon as the last micro-batch's backward has filled it.

    Parameters that a rank did not use in its last micro-batch are looked for each time. Some are frozen during first
    steps, a share may hold no masked patch; and gradients of earlier micro-batches still count. Buckets stay as they
    were built (torch rebuilds them only where nobody looks), so that a resumed run has the same ones. ``static_graph``
    is off: it does not go together with ``no_sync``.
    """

    joined: DistributedDataParallel = field(kw_only=True)

    def backward(self, roots: Sequence[Tensor], gradients: Sequence[Tensor] | None = None, *, last: bool) -> None:
        with nullcontext() if last else self.joined.no_sync():
            torch.autograd.backward(self.joined(*roots), gradients)

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """They are summed already. What no rank used has none, which is zero."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])


def _sum(bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """The sum, where DistributedDataParallel has the mean: losses are divided by the counts of the global batch."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    summed: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return summed
