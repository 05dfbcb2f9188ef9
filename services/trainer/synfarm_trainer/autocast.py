"""Networks in bfloat16; everything around them, and everything that is kept, in float32.

Autocast rounds the inputs of matrix products when they are used. Parameters and the optimiser's moments stay float32:
a step of AdamW changes a weight by about the learning rate, 1e-3 and less, and bfloat16 has eight bits, so that most
steps would round to no change at all; an average with momentum 0.994 to 1 would stand still for the same reason. Nor
is a scale of the loss needed, which float16 would need: bfloat16 has the exponents of float32.

Only networks are wrapped: what is made of their features (cosines over a temperature, Sinkhorn, cross-entropy with
prototypes) is computed outside of the region, from float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from synfarm_trainer.losses.precision import precise
from synfarm_trainer.models.heads import PatchHead
from synfarm_trainer.models.vit import Backbone

__all__ = ["compute_in_bfloat16"]

_PASSES = ("forward", "tokens", "tokens_of")
"""Methods of a network that take its input and give its features."""


def compute_in_bfloat16(module: nn.Module, device: torch.device) -> None:
    """Let the networks that a student or teacher holds compute in bfloat16, from now on; what they give is float32."""
    for part in module.children():
        if isinstance(part, nn.ModuleList | PatchHead):
            # A head of prototypes: its layers are a network, comparing with prototypes is part of the loss.
            compute_in_bfloat16(part, device)
            continue
        for name in _PASSES if isinstance(part, Backbone) else _PASSES[:1]:
            setattr(part, name, _rounded(getattr(part, name), device))


def _rounded(compute: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """``compute`` in a region of its own; what it gives, a tensor or a list of them, in float32."""

    @wraps(compute)
    def run(*arguments: Any, **named: Any) -> Any:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            found = compute(*arguments, **named)
        return precise(found) if isinstance(found, Tensor) else [precise(part) for part in found]

    return run
