"""Keeps the renderer of the last job's settings, because loading a model costs more than many units."""

from __future__ import annotations

from collections.abc import Callable

from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import EnvironmentFault
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.renderer import Renderer
from synfarm_render_worker.settings import RenderWorkerSettings

__all__ = ["RendererShelf", "make_renderer"]


def make_renderer(render: RenderSettings, settings: RenderWorkerSettings) -> Renderer:
    """A fresh renderer. torch is loaded here, and only for jobs that need it.

    Raises:
        UnitFault: the settings cannot be rendered by anyone.
        EnvironmentFault: the model cannot be loaded here and now.
    """
    if render.renderer == "collage":
        return CollageRenderer(render)
    try:
        import torch  # a collage worker must start in a second, without torch

        from synfarm_render_worker.diffusers_renderer import DiffusersRenderer, load_pipeline
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            f"this worker cannot run diffusion models, {error.name!r} is not installed: install "
            "'synfarm[render-worker,diffusers]', or take the capability out of SYNFARM_RENDER_CAPABILITIES"
        ) from error

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    dtype = dtypes.get(settings.dtype, torch.float16 if device == "cuda" else torch.float32)
    return DiffusersRenderer(render, load_pipeline(render, dtype=dtype), device=device, batch_hint=settings.batch)


class RendererShelf:
    """A RendererFactory with room for one renderer: a second model might not fit the GPU beside the first."""

    def __init__(self, make: Callable[[RenderSettings], Renderer]) -> None:
        self._make = make
        self._kept: tuple[RenderSettings, Renderer] | None = None

    def __call__(self, render: RenderSettings) -> Renderer:
        # How an image is stored does not change how it is drawn.
        wanted = render.model_copy(update={"quality": 1, "image_format": "jpg"})
        if self._kept is None or self._kept[0] != wanted:
            self._kept = None  # freed before the next one is loaded
            self._kept = (wanted, self._make(render))
        return self._kept[1]
