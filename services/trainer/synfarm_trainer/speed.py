"""How fast a step was, in operations a second and as a share of what the device can do."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch

from synfarm_trainer.config import ExecutionConfig

__all__ = ["PEAKS", "Peak", "Speed", "peak_of"]


class Peak(NamedTuple):
    """Of one device in TFLOP/s: dense products in bfloat16. 0: unknown."""

    nominal: float
    """What its maker states. MFU is measured against it, as most publications do."""
    achievable: float = 0.0
    """What the best large matrix products reach, as measured by those who tried."""


PEAKS = MappingProxyType(
    {
        "NVIDIA H200": Peak(989, 790),
        "NVIDIA H100 80GB HBM3": Peak(989),
        "NVIDIA A100-SXM4-80GB": Peak(312),
        "NVIDIA A100-SXM4-40GB": Peak(312),
    }
)
"""By the device's whole name: the cards of other forms of the same chip are slower."""


def peak_of(config: ExecutionConfig, device: torch.device) -> Peak:
    """What the configuration says, else what is known of the device; CPUs have none."""
    known = Peak(0)
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = PEAKS.get(name, known)
    return Peak(config.peak_tflops or known.nominal, config.achievable_tflops or known.achievable)


@dataclass(frozen=True, slots=True)
class Speed:
    """What the metrics of a step tell of its speed."""

    flops: float
    """Of a step over the global batch (see :mod:`synfarm_trainer.flops`)."""
    ranks: int
    peak: Peak

    def of(self, seconds: float) -> dict[str, float | None]:
        """Fields of ``StepMetrics``, for a step that took so long."""
        rate = self.flops / seconds / self.ranks / 1e12
        nominal, achievable = self.peak
        return {
            "model_flops": self.flops,
            "tflops_per_second": rate,
            "mfu": rate / nominal if nominal else None,
            "mfu_achievable": rate / achievable if achievable else None,
        }
