"""What is planned: a dataset, the networks that are trained on it, and the machines."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from synfarm.contracts.base import Contract
from synfarm.contracts.jobs import JobRequest, RenderSettings
from synfarm.planning.cited import GpuKind
from synfarm.planning.footprint import TRAINERS
from synfarm.planning.unit_size import default_unit_size

__all__ = ["PlanAsked"]


class PlanAsked(Contract):
    """Input of ``synfarm plan``."""

    captions: int = Field(ge=1, le=2_000_000_000)
    images_per_caption: int = Field(default=4, ge=1, le=64)
    render: RenderSettings = RenderSettings(
        renderer="diffusers", model="stable-diffusion-v1-5", family="sd15", size=256, render_size=512
    )
    captions_per_unit: int | None = Field(default=None, ge=1, le=1024)
    """None: what the farm would choose for the job."""
    train: tuple[str, ...] = ()
    """Presets of the trainer."""
    gpu: GpuKind = GpuKind.H100
    render_gpus: int = Field(default=64, ge=1, le=100_000)
    llm_gpus: int | None = Field(default=None, ge=1, le=100_000)
    """None: so many that the slowest captions keep up with the fastest images."""
    train_gpus: int = Field(default=64, ge=1, le=100_000)
    gpus_per_node: int = Field(default=8, ge=1, le=64)
    price_per_gpu_hour: float | None = Field(default=None, ge=0)
    preemptions_per_gpu_hour: float = Field(default=0.0, ge=0, le=60)
    """How often a render worker is taken away."""
    unit_fault_rate: float = Field(default=0.0, ge=0, lt=1)
    """Share of attempts at a unit that fail."""

    @model_validator(mode="after")
    def _presets(self) -> Self:
        if unknown := [name for name in self.train if name not in TRAINERS]:
            raise ValueError(f"train: {unknown[0]!r} is none of {', '.join(TRAINERS)}")
        return self

    @property
    def unit(self) -> int:
        """Captions of a unit."""
        if self.captions_per_unit is not None:
            return self.captions_per_unit
        request = JobRequest.model_validate(
            {
                "concepts": ["any"],
                "captions": self.captions,
                "images_per_caption": self.images_per_caption,
                "render": self.render,
            }
        )
        return default_unit_size(request)

    @property
    def units(self) -> int:
        return -(-self.captions // self.unit)
