"""What each term of a loss adds to the gradient, kept apart from the others by a backward of its own.

Training's backward goes over all terms at once and stays as it is, so its bits do not depend on whether someone looks.
Each term costs a backward more and a copy of the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from synfarm_trainer.ranks import Ranks

__all__ = ["TermGradients", "not_finite"]


class TermGradients:
    """Filled by :func:`~synfarm_trainer.objectives.micro_batches.accumulate_terms`, a micro-batch at a time."""

    def __init__(self, student: nn.Module) -> None:
        self._student = student
        self._found: dict[str, list[Tensor]] = {}

    def add(self, weighted: Mapping[str, Tensor]) -> None:
        """Differentiate each term, times its weight, and leave the graph for training's own backward."""
        parameters = [p for _, p in self._moving()]
        for name, term in weighted.items():
            made = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            known = self._found.setdefault(name, [torch.zeros_like(p) for p in parameters])
            for total, gradient in zip(known, made, strict=True):
                if gradient is not None:
                    total += gradient

    def sums(self, ranks: Ranks) -> Iterator[tuple[str, Tensor]]:
        """Each term with its whole gradient, flat, added over ranks in their order; the same on every rank."""
        for name, gradients in self._found.items():
            yield name, ranks.sum(torch.cat([gradient.reshape(-1) for gradient in gradients]))

    def norms(self, ranks: Ranks) -> dict[str, float]:
        """Each term's norm, in the order in which the objective names them."""
        return {name: float(total.norm()) for name, total in self.sums(ranks)}

    def faults(self, ranks: Ranks) -> dict[str, list[str]]:
        """The terms whose gradient is NaN or infinite, with the names of the parameters where it is."""
        moving = self._moving()
        told = {}
        for name, total in self.sums(ranks):
            pieces = torch.split(total, [p.numel() for _, p in moving])
            told[name] = not_finite({called: piece for (called, _), piece in zip(moving, pieces, strict=True)})
        return {name: where for name, where in told.items() if where}

    def _moving(self) -> list[tuple[str, nn.Parameter]]:
        """Asked anew: an objective may hold some still during its first steps."""
        return [(name, p) for name, p in self._student.named_parameters() if p.requires_grad]


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those that hold NaN or an infinity."""
    return [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
