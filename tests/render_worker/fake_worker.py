"""The render worker as a process around renderers that draw at once: what is tested is everything around them."""

from __future__ import annotations

import sys

from synfarm.contracts.jobs import RenderSettings
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.renderer import FakeRenderer, Renderer
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.shelf import RendererShelf
from synfarm_render_worker.worker import counted, run


def make(render: RenderSettings) -> Renderer:
    return FakeRenderer(size=render.size, model=render.model, capability=render.capability)


if __name__ == "__main__":
    metrics = RenderMetrics()
    sys.exit(run(RendererShelf(counted(make, metrics)), RenderWorkerSettings(), metrics))
