"""Loading a renderer with everybody told: what is loaded, what is not and why, and that this silence is no hang."""

from __future__ import annotations

import time

from synfarm.contracts.jobs import RenderSettings
from synfarm.faults import Faults
from synfarm.queue.lease import UnitInterrupted
from synfarm.queue.patience import Patience
from synfarm.queue.presence import Presence
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm.telemetry import get_logger
from synfarm_render_worker.renderer import Renderer, RendererFactory, Step, no_step

__all__ = ["ToldLoading", "model_name", "preload"]

_log = get_logger(__name__)


def model_name(render: RenderSettings) -> str | None:
    """``<model>@<revision>``; None for a renderer without a model."""
    if render.model is None:
        return None
    return render.model if render.revision is None else f"{render.model}@{render.revision}"


class ToldLoading:
    """A RendererFactory around another, which loads when it must and otherwise gives what it has."""

    def __init__(self, renderers: RendererFactory, presence: Presence, patience: Patience, faults: Faults) -> None:
        self._renderers, self._presence, self._patience, self._faults = renderers, presence, patience, faults
        self._last: Renderer | None = None

    def __call__(self, render: RenderSettings, step: Step = no_step) -> Renderer:
        """The renderer of a job's settings. Reaches the fault hook ``render.load``.

        Raises:
            UnitFault: the settings cannot be rendered by anyone.
            EnvironmentFault: it cannot be loaded here and now, whatever went wrong: no unit is to blame.
            UnitInterrupted: ``step`` says that the unit must be let go; what was loaded so far is given up.
        """
        name, began = model_name(render), time.monotonic()
        changes: dict[str, object] = {}
        self._presence.update(loading=name or render.renderer)
        try:
            with self._patience.loading() as load:
                self._faults.reach("render.load")
                made = self._renderers(render, step)
                load.happened = name is not None and made is not self._last
        except (UnitFault, UnitInterrupted):
            raise
        except Exception as error:
            changes = {"trouble": _in_words(name, error)} | ({"model": None} if name else {})
            self._last = None
            expected = isinstance(error, EnvironmentFault)
            _log.warning("load_failed", model=name, error=changes["trouble"], exc_info=not expected)
            raise EnvironmentFault(str(changes["trouble"])) from error
        else:
            changes = {"trouble": None} | ({"model": name, "gpu": made.versions.get("gpu")} if name else {})
            if load.happened:
                seconds = round(time.monotonic() - began, 2)
                _log.info("renderer_loaded", renderer=made.name, model=name, seconds=seconds)
        finally:
            self._presence.update(loading=None, **changes)
        if name is not None:  # a renderer without a model pushes none out
            self._last = made
        return made


def preload(renderers: RendererFactory, render: RenderSettings, presence: Presence, *, retry_seconds: float) -> None:
    """Load before the first unit is taken; a load that fails is tried again for as long as it takes.

    Raises:
        UnitFault: the settings cannot be rendered by anyone.
    """
    while True:
        try:
            renderers(render)
            return
        except EnvironmentFault:
            # Between two tries it counts as loading, and as one that fails: nobody is to wait for this worker.
            presence.update(loading=model_name(render))
            time.sleep(retry_seconds)


def _in_words(name: str | None, error: Exception) -> str:
    told = str(error) or type(error).__name__
    return told if name is None or name.partition("@")[0] in told else f"the model {name!r} cannot be loaded: {told}"
