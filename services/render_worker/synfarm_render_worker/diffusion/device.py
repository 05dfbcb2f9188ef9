"""Where models compute."""

from __future__ import annotations

from typing import Literal

import torch

from synfarm.queue.unit import EnvironmentFault

__all__ = ["device_of"]


def device_of(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """
    Raises:
        EnvironmentFault: there is no GPU.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("SYNFARM_RENDER_DEVICE: 'cuda', and torch sees no GPU here; give it one, or set 'cpu'")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
