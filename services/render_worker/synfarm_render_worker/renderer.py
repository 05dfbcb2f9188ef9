"""The seam between a unit's captions and whatever draws them: the Renderer protocol, image seeds, a fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from synfarm.contracts.jobs import RenderSettings
from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of, seed63, text_id

__all__ = [
    "FakeRenderer",
    "ImageRequest",
    "Pixels",
    "RenderedImage",
    "Renderer",
    "RendererFactory",
    "Spent",
    "Step",
    "image_seed",
    "no_step",
]

Pixels = npt.NDArray[np.uint8]
"""One image: height x width x 3, RGB."""


def image_seed(job_seed: int, job: str, caption_index: int, k: int) -> int:
    """Seed of image ``k`` of a caption, in [0, 2**63): the same in whatever unit, batch or worker it is drawn."""
    return seed63(bits(key_of(job_seed, Purpose.IMAGE), text_id(job), caption_index, k))


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """All that a renderer may know of an image: the caption's words and the seed."""

    caption: str
    seed: int


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """One drawn image; ``scene`` tells what a scene renderer drew, and is None for diffusion."""

    pixels: Pixels
    """Of the size at which it was drawn; whoever encodes it makes it the stored one."""
    scene: Mapping[str, object] | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    """By name, where the job asks for scores; of no part in how the image is drawn or stored."""


Step = Callable[[], None]
"""Called after every step of the model: tells that work goes on, and raises when the unit must be let go."""


def no_step() -> None:
    """For a call that nobody watches."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a model did and how long it took, in seconds of the device; all zero for a renderer without a model."""

    images: int = 0
    text: float = 0.0
    denoise: float = 0.0
    steps: int = 0
    """Denoising steps, each of a whole batch."""
    decode: float = 0.0
    truncated: int = 0
    """Captions longer than what the text encoder reads; it saw their beginning alone."""


class Renderer(Protocol):
    """Draws captions. Pure in (caption, seed): neither batch neighbours nor earlier calls change an image."""

    @property
    def name(self) -> str:
        """``collage`` or ``diffusers``: as the job says."""

    @property
    def model(self) -> str | None:
        """Hub id or folder, where there is a model."""

    @property
    def revision(self) -> str | None:
        """Commit of the model's repository, where there is one."""

    @property
    def capability(self) -> str:
        """Model family and size class; the worker's queues are named by it."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of what draws, by package."""

    @property
    def batch_hint(self) -> int:
        """Images that it likes to draw at once."""

    def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
        """One image per request, in order. What ``step`` raises passes through and leaves the renderer usable.

        Raises:
            UnitFault: a request cannot be drawn, whoever tries.
        """

    def spent(self) -> Spent:
        """Since the last call."""


class RendererFactory(Protocol):
    """Gives the renderer for a job's settings, kept from the last call where they allow it."""

    def __call__(self, render: RenderSettings, step: Step = no_step) -> Renderer:
        """``step`` is called while a model is fetched, loaded and made ready; what it raises passes through.

        Raises:
            UnitFault: the settings cannot be rendered by anyone.
            EnvironmentFault: they cannot be rendered here and now.
        """


@dataclass(frozen=True, slots=True)
class FakeRenderer:
    """Draws four flat quarters whose colours are a hash of (caption, seed): for tests of everything around it."""

    size: int = 32
    name: str = "collage"
    model: str | None = None
    revision: str | None = None
    capability: str = "collage-s"
    batch_hint: int = 5

    @property
    def versions(self) -> Mapping[str, str]:
        return {"fake": "1"}

    def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
        return [self._one(request) for request in requests]

    def spent(self) -> Spent:
        return Spent()

    def _one(self, request: ImageRequest) -> RenderedImage:
        key = key_of(request.seed, Purpose.IMAGE)
        word = [bits(key, text_id(request.caption), i) & 0xFF for i in range(12)]
        quarters = np.array(word, dtype=np.uint8).reshape(2, 2, 3)
        half = self.size // 2
        return RenderedImage(np.repeat(np.repeat(quarters, half, axis=0), half, axis=1), {"fake": True})
