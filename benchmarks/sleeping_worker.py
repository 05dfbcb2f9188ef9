"""A render worker whose images take a fixed time and next to no processor: many fit on a few cores.

Run by `bench_plan_simulator.py`. ``SLEEPING_WORKER_SECONDS``: of one image.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from synfarm.contracts.jobs import RenderSettings
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.renderer import FakeRenderer, ImageRequest, RenderedImage, Renderer, Step, no_step
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.worker import run

_SECONDS = float(os.environ.get("SLEEPING_WORKER_SECONDS", "0.25"))


class _Sleeper(FakeRenderer):
    """Waits as a device would let it wait, then draws four flat quarters."""

    def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
        for _ in requests:
            time.sleep(_SECONDS)
            step()
        return FakeRenderer.render(self, requests, step)


def _made(render: RenderSettings, step: Step = no_step) -> Renderer:
    return _Sleeper(size=render.size, model=render.model, capability=render.capability)


if __name__ == "__main__":
    sys.exit(run(_made, RenderWorkerSettings(), RenderMetrics()))
