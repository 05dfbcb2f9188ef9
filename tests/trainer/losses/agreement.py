"""What it means that a loss equals its slow reference: the value and every gradient, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

Loss = Callable[..., Tensor]


def value_and_gradients(loss: Loss, inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Of a weighted sum of all losses, so that each one's gradient counts and none is like its neighbour's."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    found = loss(*leaves)
    weights = torch.linspace(1, 2, found.numel(), dtype=found.dtype)
    (found.flatten() * weights).sum().backward()
    return found.detach(), [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]


def agree(fast: Loss, slow: Loss, *inputs: Tensor, tolerance: float = 1e-10) -> None:
    """Both take ``inputs`` and give losses of one shape."""
    (value, gradients), (expected, wanted) = (value_and_gradients(loss, inputs) for loss in (fast, slow))
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    for found, right in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(found, right, rtol=tolerance, atol=tolerance)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def directions(*shape: int, seed: int = 0) -> Tensor:
    return normalize(draw(*shape, seed=seed), dim=-1)
