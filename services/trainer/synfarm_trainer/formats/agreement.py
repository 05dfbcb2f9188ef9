"""Whether what was written gives the features of the network that it was written of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from synfarm_trainer.models.frozen import Frozen

__all__ = ["Agreement", "FormatFailed", "agreement"]

_COUNTS = (1, 3)
"""Images in a batch: another number than the one that a graph was traced with must work."""


class FormatFailed(Exception):
    """What was written cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Agreement:
    difference: float
    """Largest absolute difference of a feature, over the largest absolute feature."""
    tolerance: float
    images: int


def agreement(frozen: Frozen, other: Callable[[Tensor], Tensor], *, tolerance: float) -> Agreement:
    """Of a few images of noise, as the network takes them.

    Args:
        other: (n, 3, side, side) to (n, width): what was written, read back.

    Raises:
        FormatFailed: the features differ by more.
    """
    generator = torch.Generator().manual_seed(0)
    most = 0.0
    with torch.inference_mode():
        for count in _COUNTS:
            images = torch.randn(count, 3, frozen.side, frozen.side, generator=generator)
            wanted, found = frozen.module(images), other(images)
            if wanted.shape != found.shape:
                shapes = f"{tuple(found.shape)} for {tuple(wanted.shape)}"
                raise FormatFailed(f"what was written gives features of another shape ({shapes}); tell us of it")
            # Not a number is no agreement either.
            difference = float((wanted - found).abs().max() / wanted.abs().max())
            most = difference if not difference <= most else most
    if not most <= tolerance:
        cure = "nothing is left there; try another version of the library, or another format"
        raise FormatFailed(f"what was written gives features that differ by {most:.2g} (at most {tolerance:g}); {cure}")
    return Agreement(most, tolerance, sum(_COUNTS))
