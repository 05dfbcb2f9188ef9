"""From the job's sampler to a scheduler object of diffusers, fresh for each renderer: schedulers keep state."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, LCMScheduler

from synfarm.contracts.render_presets import Sampler
from synfarm.queue.unit import UnitFault
from synfarm_render_worker.diffusion.adapters.protocol import FamilyAdapter

__all__ = ["draws_step_noise", "sampler_of", "set_up"]

_ANONYMOUS = {"DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler"}
"""They draw step noise for the whole batch from one seed, so an image would depend on its neighbours."""


def sampler_of(sampler: Sampler, adapter: FamilyAdapter, own: Any) -> Any:
    """The scheduler of a job; ``own`` is the one that the model's folder names.

    Raises:
        UnitFault: it does not fit the model.
    """
    if adapter.flow_matching and sampler is not Sampler.MODEL:
        raise UnitFault(
            f"render.sampler: {sampler.value!r} is of no use to a flow-matching model "
            f"({type(adapter.pipeline).__name__}); submit the job with sampler 'model', the model's own"
        )
    config = own.config
    match sampler:
        case Sampler.DDIM:
            # Both are what latent models are trained with; DDIM's own defaults are meant for pixels.
            told = {name: config.get(name, False) for name in ("clip_sample", "set_alpha_to_one")}
            return DDIMScheduler.from_config(config, **told)
        case Sampler.DPMPP2M:
            return DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver++", solver_order=2)
        case Sampler.LCM:
            return LCMScheduler.from_config(config)
        case Sampler.EULER:
            return EulerDiscreteScheduler.from_config(config, timestep_spacing="trailing")
    if type(own).__name__ in _ANONYMOUS:
        raise UnitFault(
            f"render.sampler: the model's own {type(own).__name__} draws one noise for a whole batch; submit the job "
            "with sampler 'ddim', 'dpmpp2m' or 'euler'"
        )
    return type(own).from_config(config)


def set_up(adapter: FamilyAdapter, scheduler: Any, *, steps: int, size: int) -> torch.Tensor:
    """The times of a run, on the CPU.

    Raises:
        UnitFault: the scheduler cannot take this number of steps.
    """
    try:
        return adapter.timesteps(scheduler, steps, size)
    except ValueError as error:
        raise UnitFault(
            f"render.steps: {type(scheduler).__name__} cannot take {steps} steps ({error}); submit the job with fewer"
        ) from error


def draws_step_noise(scheduler: Any, generators: Sequence[torch.Generator]) -> dict[str, Any]:
    """What ``scheduler.step`` takes more: each image's generator, where steps may draw noise."""
    takes = inspect.signature(scheduler.step).parameters
    return {"generator": list(generators)} if "generator" in takes else {}
