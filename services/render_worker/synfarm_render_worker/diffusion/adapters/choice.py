"""Which adapter a pipeline gets."""

from __future__ import annotations

from typing import Any

from diffusers import (
    FluxPipeline,
    LatentConsistencyModelPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)

from synfarm.queue.unit import UnitFault
from synfarm_render_worker.diffusion.adapters.flow import Flux, StableDiffusion3
from synfarm_render_worker.diffusion.adapters.protocol import FamilyAdapter
from synfarm_render_worker.diffusion.adapters.unet import StableDiffusion, StableDiffusionXL

__all__ = ["adapter_of"]


def adapter_of(pipeline: Any) -> FamilyAdapter:
    """
    Raises:
        UnitFault: no family of this version.
    """
    match pipeline:
        case StableDiffusionPipeline() | LatentConsistencyModelPipeline():
            return StableDiffusion(pipeline)
        case StableDiffusionXLPipeline():
            return StableDiffusionXL(pipeline)
        case StableDiffusion3Pipeline():
            return StableDiffusion3(pipeline)
        case FluxPipeline():
            return Flux(pipeline)
    raise UnitFault(
        f"render.model: its pipeline is a {type(pipeline).__name__}, which this version does not draw; choose a model "
        "of Stable Diffusion 1, 2, XL or 3, of FLUX, or a latent consistency model"
    )
