"""The denoising loop: what the pipelines of diffusers do, with the numbers that they give.

It is an own loop because theirs read the time from the device at each step (a wait), keep latents in half precision,
and change the batch in the middle only through private attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from synfarm_render_worker.diffusion.adapters.protocol import Embedding, FamilyAdapter
from synfarm_render_worker.diffusion.noise import Noise
from synfarm_render_worker.diffusion.samplers import draws_step_noise, set_up

__all__ = ["Course", "denoise"]


@dataclass(frozen=True, slots=True)
class Course:
    """How a batch is denoised."""

    steps: int
    size: int
    """px."""
    guidance: float
    guidance_until: float = 1.0
    """Share of the steps that take a pass without the caption as well."""

    def guided(self, adapter: FamilyAdapter, times: int) -> int:
        """Of so many times, how many are guided by a second pass."""
        return round(self.guidance_until * times) if adapter.halves(self.guidance) else 0


def denoise(
    adapter: FamilyAdapter,
    scheduler: Any,
    course: Course,
    *,
    captions: Embedding,
    empty: Embedding | None,
    noise: Noise,
    step: Callable[[], None],
) -> torch.Tensor:
    """The last latents (float32) of one image a row of ``captions``; ``empty`` has one row, where it is needed.

    Guidance is ``eps_u + s (eps_c - eps_u)`` (method section 2). There are two shapes of the network's input at most:
    both halves, then the captions alone.

    Raises:
        UnitFault: the scheduler cannot take so many steps.
        Whatever ``step`` raises, after any step: nothing stays behind.
    """
    times = set_up(adapter, scheduler, steps=course.steps, size=course.size)
    rows, network = len(captions.tokens), adapter.denoiser
    guided = course.guided(adapter, len(times))
    known: dict[str, Any] = {"size": course.size, "guidance": course.guidance}
    arguments = adapter.arguments(captions, **known)
    halves = arguments
    if guided:
        assert empty is not None, "guidance needs the empty prompt"
        halves = adapter.arguments(Embedding.joined([empty.repeated(rows), captions]), **known)
    latents = adapter.begin(noise.first(adapter.noise_shape(course.size), network.device), scheduler)
    more = draws_step_noise(scheduler, noise.generators)
    scaled = getattr(scheduler, "scale_model_input", lambda sample, _: sample)
    for i, (time, time_there) in enumerate(zip(times, times.to(network.device), strict=True)):
        sample = scaled(latents, time).to(network.dtype)
        if i < guided:
            both = adapter.predict(torch.cat([sample, sample]), time_there, halves).float()
            without, predicted = both.chunk(2)
            predicted = without + course.guidance * (predicted - without)
        else:
            predicted = adapter.predict(sample, time_there, arguments).float()
        latents = scheduler.step(predicted, time, latents, return_dict=False, **more)[0]
        step()
    return latents
