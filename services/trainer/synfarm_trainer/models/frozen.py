"""A network that is only looked through, with what its images must be like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Frozen"]


@dataclass(frozen=True, eq=False, slots=True)
class Frozen:
    """(n, 3, side, side), standardised, to (n, width); in evaluation mode, float32."""

    name: str
    """As users name it."""
    module: nn.Module
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of pixels in 0 to 1: those that the network was trained with."""
    described: Mapping[str, Any] = field(default_factory=dict)
    """What else is known of it, as JSON values."""

    @torch.inference_mode()
    def embed(self, pixels: Tensor) -> Tensor:
        """(n, side, side, 3) bytes on any device to (n, width) float32 on the module's."""
        device = next(iter(self.module.parameters()), pixels).device
        mean, std = (torch.tensor(values, device=device) for values in (self.mean, self.std))
        standard = ((pixels.to(device).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
        found: Tensor = self.module(standard)
        return found.float()
