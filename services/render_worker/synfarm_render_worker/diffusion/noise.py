"""An image's noise: its first latents, and that of its steps, from its own seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["Noise"]


class Noise:
    """Drawn on the CPU in float32, so that its numbers are the same for every GPU and every dtype."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def first(self, shape: tuple[int, int, int], device: torch.device) -> torch.Tensor:
        """Images x channels x height x width; the generators go on from there in the steps."""
        rows = [torch.randn((1, *shape), generator=generator, dtype=torch.float32) for generator in self.generators]
        return torch.cat(rows).to(device)
