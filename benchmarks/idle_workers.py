"""Workers whose work is nothing, as child processes: what is left is the farm's own cost.

``python idle_workers.py render``: a render worker with all its parts around a renderer that draws at once.
``python idle_workers.py bare <messages> <file>``: Celery with the farm's settings and an empty task; writes seconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from synfarm.contracts.jobs import Lane
from synfarm.contracts.renders import RENDER_TASK, render_queue
from synfarm.queue.app import make_app
from synfarm.queue.draining import Draining
from synfarm.queue.worker import run_worker
from synfarm.settings import RedisSettings
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.renderer import FakeRenderer, no_step
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.worker import run


def render() -> int:
    return run(lambda settings, step=no_step: FakeRenderer(size=settings.size), RenderWorkerSettings(), RenderMetrics())


def bare(messages: int, file: Path) -> int:
    app, seen = make_app(RedisSettings()), list[float]()

    @app.task(name=RENDER_TASK)
    def unit(message: dict[str, object]) -> None:
        seen.append(time.monotonic())
        if len(seen) == messages:
            file.write_text(f"{seen[-1] - seen[0]:.6f}")

    queue = render_queue("collage-s", Lane.NORMAL)
    return run_worker(app, queues=[queue], pool="solo", draining=Draining(), name="bare")


if __name__ == "__main__":
    sys.exit(bare(int(sys.argv[2]), Path(sys.argv[3])) if sys.argv[1] == "bare" else render())
