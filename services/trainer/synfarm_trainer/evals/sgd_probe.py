"""The linear probe of ImageNet (method section 5.1; paper, table 13; release, main_linear.py).

SGD with momentum .9 and no decay, batches of 1024, 90 epochs, rates that fall by a cosine to 0 without warm-up; one
classifier for each rate of a grid, all on the same batches. The release reports the best of the grid on the images
that it is tested on, at the best of the epochs that it looked at: told here are that and the last epoch's, apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

__all__ = ["GRID", "SgdPlan", "SgdResult", "train_probe"]

GRID = tuple(base * 1e-2 for base in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50))
"""Rates for a batch of 256."""
_STD = 0.01
Batches = Iterable[tuple[Tensor, Tensor]]
"""(n, width) features with (n,) labels."""


@dataclass(frozen=True, slots=True)
class SgdPlan:
    epochs: int = 90
    batch: int = 1024
    rates: tuple[float, ...] = GRID
    normalise: bool = True
    """Batch statistics without affine before each classifier, as the release has it for SynCLR (``use_bn``)."""
    look_every: int = 10
    """Epochs between two looks at the test images; the last epoch is always one."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SgdResult:
    last: float
    """Best classifier of the grid after the last epoch, on the test images."""
    last_rate: float
    """Its rate, as of the grid."""
    best: float
    """Best of the grid and of all epochs that were looked at: what the release reports."""
    best_rate: float
    best_epoch: int


def train_probe(
    epoch: Callable[[int], Batches],
    test: Callable[[], Batches],
    *,
    width: int,
    classes: int,
    steps: int,
    plan: SgdPlan,
    device: torch.device,
    tell: Callable[[str], None] = lambda line: None,
) -> SgdResult:
    """
    Args:
        epoch: training batches of an epoch, by its number from 0.
        test: batches of the test images.
        steps: batches in an epoch.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    heads = [_classifier(width, classes, plan.normalise, generator).to(device) for _ in plan.rates]
    groups = [
        {"params": list(head.parameters()), "peak": rate * plan.batch / 256}
        for head, rate in zip(heads, plan.rates, strict=True)
    ]
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=0.9)
    step, best = 0, (-1.0, 0.0, 0)
    last = (0.0, 0.0)
    for number in range(plan.epochs):
        for features, labels in epoch(number):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * 0.5 * (1 + math.cos(math.pi * step / (plan.epochs * steps)))
            x, y = features.to(device), labels.to(device)
            torch.stack([cross_entropy(head(x), y) for head in heads]).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
        if (number + 1) % plan.look_every == 0 or number + 1 == plan.epochs:
            accuracies = _accuracies(heads, test(), device)
            last = max(zip(accuracies, plan.rates, strict=True), key=lambda pair: pair[0])
            tell(f"epoch {number + 1}: {100 * last[0]:.2f} % by rate {last[1]:g}")
            if last[0] > best[0]:
                best = (*last, number + 1)
    return SgdResult(last[0], last[1], best[0], best[1], best[2])


def _classifier(width: int, classes: int, normalise: bool, generator: torch.Generator) -> nn.Module:
    linear = nn.Linear(width, classes, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        linear.weight.normal_(0, _STD, generator=generator)
        linear.bias.zero_()
    return nn.Sequential(nn.BatchNorm1d(width, affine=False, eps=1e-6), linear) if normalise else linear


@torch.no_grad()
def _accuracies(heads: list[nn.Module], batches: Batches, device: torch.device) -> list[float]:
    right, count = torch.zeros(len(heads), dtype=torch.int64), 0
    for head in heads:
        head.eval()
    for features, labels in batches:
        x, y = features.to(device), labels.to(device)
        right += torch.stack([(head(x).argmax(dim=1) == y).sum() for head in heads]).cpu()
        count += len(labels)
    for head in heads:
        head.train()
    return (right.double() / count).tolist()
