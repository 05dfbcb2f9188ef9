"""Figures that others have published, with their sources: what a plan counts with until somebody measured.

None of them was measured here. ``reported`` is what the source says; ``derived`` is arithmetic on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from synfarm.planning.spread import Spread

__all__ = [
    "DRAWS_A_CAPTION",
    "IMAGES",
    "LIST_SECONDS",
    "S3_READS",
    "S3_WRITES",
    "TFLOPS",
    "TOKENS",
    "Figure",
    "GpuKind",
]


class GpuKind(StrEnum):
    """A GPU for which there are figures; of any other the rates are to be given."""

    A100 = "a100"
    H100 = "h100"
    H200 = "h200"


class Figure(NamedTuple):
    value: Spread
    source: str


def _figure(low: float, likely: float, high: float, source: str) -> Figure:
    return Figure(Spread(low=low, likely=likely, high=high), source)


_H100_DRAWS = (
    "derived: the A100's figures x 1.48 and x 1.89, what an H100 gains in baseline and optimised SDXL (0.27 to 0.40 "
    "and 0.36 to 0.68 images/s; model card of stabilityai/stable-diffusion-xl-1.0-tensorrt, 2023)"
)
IMAGES: Mapping[GpuKind, Figure] = MappingProxyType(
    {
        GpuKind.A100: _figure(
            0.95,
            1.22,
            1.50,
            "SD 1.5, 512 px, 50 guided steps: 0.95 reported (batch 1, compiled, channels last; "
            "fal-ai/stable-diffusion-benchmarks, 2023); 1.22 and 1.50 derived from 61 and 75 steps/s at batch 16 "
            "(diffusers, docs/source/en/optimization/torch2.0.md), which leave out text encoder and VAE",
        ),
        GpuKind.H100: _figure(1.41, 1.81, 2.84, _H100_DRAWS),
        GpuKind.H200: _figure(1.41, 1.81, 2.84, f"as the H100, whose arithmetic it has; {_H100_DRAWS}"),
    }
)
"""SD 1.5 images a second of one GPU: 512 pixels, 50 steps, all of them guided."""

_TOKENS = _figure(
    1250,
    2500,
    5000,
    "2,500 derived: over 1T tokens in 12.7 GPU-years, models and GPUs mixed (huggingface/datatrove, README and "
    "examples/inference, 2026); half and twice of it are our bounds",
)
TOKENS: Mapping[GpuKind, Figure] = MappingProxyType(dict.fromkeys(GpuKind, _TOKENS))
"""New tokens a second of one GPU that serves the language model."""

TFLOPS: Mapping[GpuKind, Figure] = MappingProxyType(
    {
        GpuKind.A100: _figure(
            80,
            106,
            141,
            "DINOv2 ViT-L/16 on A100: 93 images/s reported as hours a run, 141 TFLOP/s derived, 106 less what "
            "stochastic depth skips (facebookresearch/dinov2, 2023); three quarters of it our lower bound",
        ),
        GpuKind.H100: _figure(
            134,
            178,
            316,
            "DINOv3 ViT-L/16 on H100: 159 images/s, derived 178 TFLOP/s less what stochastic depth skips "
            "(facebookresearch/dinov3, 2025); three quarters of it our lower bound, 316 (40 % of 790) our aim, "
            "not measured",
        ),
        GpuKind.H200: _figure(
            134,
            178,
            316,
            "as the H100: DINOv3 ViT-L/16, derived 178 TFLOP/s (facebookresearch/dinov3, 2025); 316 (40 % of 790) our "
            "aim, not measured",
        ),
    }
)
"""Useful 1e12 operations a second of one GPU that trains a ViT by self-supervision."""

DRAWS_A_CAPTION = Figure(
    Spread(low=1.05, likely=1.25, high=1.29),
    "661 and 681 generations for 528 captions with SmolLM2-135M (docs/measurements.md, 2026-11-23); a larger model "
    "loses fewer, our guess",
)
LIST_SECONDS = Figure(Spread.exactly(0.09), "9 s for 100,000 keys on SeaweedFS, 1,000 a page (a trial of 2026-11-23)")
"""Of one page of 1,000 keys."""
S3_WRITES = Figure(
    Spread.exactly(3500),
    "AWS: at least 3,500 PUT/COPY/POST/DELETE a second and partitioned prefix (Amazon S3 user guide, "
    "optimizing-performance, read 2026-11-29)",
)
S3_READS = Figure(Spread.exactly(5500), "AWS: at least 5,500 GET/HEAD a second and partitioned prefix (the same page)")
