"""The render worker as a process around renderers that draw at once: what is tested is everything around them.

``python fake_worker.py newer`` is one of a version to come, which reads contract 2 of a job's spec, too.
"""

from __future__ import annotations

import sys
from typing import Literal

from synfarm.contracts.jobs import JobSpec, RenderSettings
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.renderer import FakeRenderer, Renderer, Step, no_step
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.worker import run


class FakeShelf:
    """Room for one renderer, as the real one."""

    def __init__(self, metrics: RenderMetrics) -> None:
        self._metrics = metrics
        self._kept: tuple[RenderSettings, Renderer] | None = None

    def __call__(self, render: RenderSettings, step: Step = no_step) -> Renderer:
        if self._kept is None or self._kept[0] != render:
            made = FakeRenderer(size=render.size, model=render.model, capability=render.capability)
            self._kept = (render, made)
            self._metrics.count_load(0.0)
        return self._kept[1]


if __name__ == "__main__":
    if sys.argv[1:] == ["newer"]:
        JobSpec.model_fields["schema_version"].annotation = Literal[1, 2]  # type: ignore[assignment]
        JobSpec.model_rebuild(force=True)
    metrics = RenderMetrics()
    sys.exit(run(FakeShelf(metrics), RenderWorkerSettings(), metrics))
