"""Keeps the model of the last job, because loading one costs more than many units."""

from __future__ import annotations

import gc
import importlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from synfarm.contracts.jobs import RenderSettings
from synfarm.contracts.render_settings import LoraRef
from synfarm.queue.unit import EnvironmentFault
from synfarm.telemetry import get_logger
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.model_files import ModelFiles
from synfarm_render_worker.renderer import Renderer, Step, no_step
from synfarm_render_worker.settings import RenderWorkerSettings

if TYPE_CHECKING:  # a collage worker must start in a second, without torch
    from synfarm_render_worker.diffusion.loading import LoadedModel

__all__ = ["RendererShelf"]

_log = get_logger(__name__)

_Weights = tuple[str | None, str | None, LoraRef | None]


class RendererShelf:
    """A RendererFactory with room for one diffusion model: a second might not fit the GPU beside the first.

    Another sampler, number of steps or size makes a new renderer of the same weights.
    """

    def __init__(
        self,
        settings: RenderWorkerSettings,
        *,
        told: Callable[[float], None] = lambda seconds: None,
        halved: Callable[[], None] = lambda: None,
    ) -> None:
        """``told`` hears how long each load of a model took, ``halved`` of each batch that memory was too small for."""
        self._settings, self._told, self._halved = settings, told, halved
        self._files = ModelFiles(settings.models)
        self._collage: tuple[RenderSettings, Renderer] | None = None
        self._weights: tuple[_Weights, LoadedModel] | None = None
        self._diffusion: tuple[RenderSettings, Renderer] | None = None

    def __call__(self, render: RenderSettings, step: Step = no_step) -> Renderer:
        """``step`` is called while a model is fetched, loaded and made ready; what it raises passes through.

        Raises:
            UnitFault: the settings cannot be rendered by anyone.
            EnvironmentFault: the model cannot be loaded here and now.
        """
        wanted = _drawn(render)
        if render.renderer == "collage":
            if self._collage is None or self._collage[0] != wanted:
                self._collage = (wanted, CollageRenderer(render))
            return self._collage[1]
        if self._diffusion is None or self._diffusion[0] != wanted:
            self._diffusion = None
            self._diffusion = (wanted, self._diffusers(render, step))
        return self._diffusion[1]

    def _diffusers(self, render: RenderSettings, step: Step) -> Renderer:
        _need_diffusers()
        from synfarm_render_worker.diffusion.preparing import prepared

        return prepared(
            render, self._model(render, step), self._settings, self._settings.cache_folder, step, halved=self._halved
        )

    def _model(self, render: RenderSettings, step: Step) -> LoadedModel:
        from synfarm_render_worker.diffusion.device import device_of
        from synfarm_render_worker.diffusion.loading import dtype_of, load_model

        wanted = (render.model, render.revision, render.lora)
        if self._weights is None or self._weights[0] != wanted:
            self._free()
            device = device_of(self._settings.device)
            dtype = dtype_of(self._settings.dtype, device)
            began = time.monotonic()
            model = load_model(render, self._files, device=device, dtype=dtype, step=step)
            self._told(time.monotonic() - began)
            self._weights = (wanted, model)
        return self._weights[1]

    def _free(self) -> None:
        """Before the next model is loaded, also when somebody still holds the last renderer."""
        if self._weights is None:
            return
        (name, _, _), model = self._weights
        self._weights = None
        model.release()
        gc.collect()
        if model.device.type == "cuda":
            sys.modules["torch"].cuda.empty_cache()
        _log.info("model_freed", model=name)


def _drawn(render: RenderSettings) -> RenderSettings:
    """Equal for jobs that draw alike: how images are stored, scored and scaled down does not change a renderer."""
    side = render.render_size or render.size
    changes = {"size": side, "render_size": None, "quality": 1, "image_format": "jpg"}
    return render.model_copy(update={**changes, "preset": None, "clip_score": None, "nsfw_score": None})


def _need_diffusers() -> None:
    try:
        for name in ("torch", "transformers", "diffusers"):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            f"this worker cannot run diffusion models, {error.name!r} is not installed: install "
            "'synfarm[render-worker,diffusers]', or take the capability out of SYNFARM_RENDER_CAPABILITIES"
        ) from error
