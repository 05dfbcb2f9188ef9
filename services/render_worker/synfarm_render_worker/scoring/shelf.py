"""Keeps the scorers of the last job, as the renderer of the last job is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from synfarm.contracts.render_settings import ModelRef, RenderSettings
from synfarm.queue.unit import EnvironmentFault
from synfarm_render_worker.model_files import ModelFiles
from synfarm_render_worker.renderer import Renderer, RendererFactory, Step, no_step
from synfarm_render_worker.scoring.scorer import CLIP, NSFW, Scorer
from synfarm_render_worker.scoring.scoring_renderer import ScoringRenderer
from synfarm_render_worker.settings import RenderWorkerSettings

__all__ = ["ScorerShelf", "make_scorer", "with_scores"]

ScorerFactory = Callable[[str, ModelRef], Scorer]
"""Loads the model that gives the scores of a name."""


def make_scorer(name: str, ref: ModelRef, settings: RenderWorkerSettings) -> Scorer:
    """A fresh scorer. torch is loaded here.

    Raises:
        UnitFault: a model of the hub without a revision.
        EnvironmentFault: it cannot be loaded here and now.
    """
    try:
        from synfarm_render_worker.diffusion.device import device_of
        from synfarm_render_worker.scoring.clip import CLIP_FILES, load_clip
        from synfarm_render_worker.scoring.safety import SAFETY_FILES, load_safety
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            f"this worker cannot score images, {error.name!r} is not installed: install "
            "'synfarm[render-worker,diffusers]'"
        ) from error
    device = device_of(settings.device).type
    load, files = (load_clip, CLIP_FILES) if name == CLIP else (load_safety, SAFETY_FILES)
    folder = ModelFiles(settings.models).find(f"render.{name}_score", ref.model, ref.revision, files=files)
    return load(folder, device)


class ScorerShelf:
    """Has room for what one job asks for; models stay while jobs that ask for them follow each other."""

    def __init__(self, make: ScorerFactory) -> None:
        self._make = make
        self._kept: dict[tuple[str, ModelRef], Scorer] = {}

    def __call__(self, render: RenderSettings) -> Sequence[Scorer]:
        wanted = _asked(render)
        for key in wanted:
            if key not in self._kept:
                self._kept[key] = self._make(*key)
        return [self._kept[key] for key in wanted]

    def free(self, render: RenderSettings) -> None:
        """What this job does not ask for goes, so that there is room for what it loads."""
        wanted = _asked(render)
        for key in [key for key in self._kept if key not in wanted]:
            self._kept.pop(key).release()


def _asked(render: RenderSettings) -> list[tuple[str, ModelRef]]:
    asked = ((CLIP, render.clip_score), (NSFW, render.nsfw_score))
    return [(name, ref) for name, ref in asked if ref is not None]


def with_scores(renderers: RendererFactory, scorers: ScorerShelf) -> RendererFactory:
    """``renderers``, whose images have the scores that the job asks for."""

    last: ScoringRenderer | None = None

    def make(render: RenderSettings, step: Step = no_step) -> Renderer:
        nonlocal last
        scorers.free(render)
        renderer, wanted = renderers(render, step), scorers(render)
        if not wanted:
            last = None
            return renderer
        # The same one while nothing changes: by that others see that nothing was loaded.
        if last is None or not last.is_of(renderer, wanted):
            last = ScoringRenderer(renderer, wanted)
        return last

    return make
