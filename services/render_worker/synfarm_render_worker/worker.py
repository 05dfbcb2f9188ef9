"""Composition root of the render worker: reads settings, wires the parts, runs Celery with the ``solo`` pool."""

from __future__ import annotations

from functools import partial

from synfarm.contracts.jobs import Lane
from synfarm.contracts.renders import RENDER_TASK, render_queue
from synfarm.faults import Faults
from synfarm.queue.process import WorkerProcess, worker_info
from synfarm.settings import ProcessSettings, RedisSettings, StoreSettings
from synfarm.storage.opening import open_proven, tell_unusable
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import configure_logging, get_logger
from synfarm_render_worker.drawing import UnitDrawer
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.rendering import UnitRenderer
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.shelf import RendererShelf, make_renderer

__all__ = ["main", "worker_queues"]


def worker_queues(capabilities: tuple[str, ...]) -> list[str]:
    """Queues in the order in which they are served: the high lane of every capability first."""
    return [render_queue(capability, lane) for lane in Lane for capability in capabilities]


def main() -> int:
    """Run until SIGTERM or until the broker is lost; the exit code tells which (0, or not 0)."""
    process, settings = ProcessSettings(), RenderWorkerSettings()
    configure_logging(process.log_level, process.log_format, process="render-worker")
    try:
        store = open_proven(StoreSettings())
    except StoreError as error:
        return tell_unusable(error)
    faults, metrics = Faults(process.faults), RenderMetrics()
    info = worker_info("render", capabilities=settings.capabilities)
    worker = WorkerProcess(
        store, info, redis_settings=RedisSettings(), faults=faults, grace_seconds=settings.grace_seconds
    )
    drawer = UnitDrawer(threads=settings.encode_threads, batch=settings.batch, metrics=metrics)
    unit_renderer = UnitRenderer(
        store=store,
        board=worker.board,
        faults=faults,
        renderers=RendererShelf(partial(make_renderer, settings=settings)),
        drawer=drawer,
        metrics=metrics,
        worker=info.id,
    )
    worker.take(RENDER_TASK, unit_renderer.work, lambda outcome: metrics.units.labels(outcome=outcome.value).inc())
    if settings.port is not None:
        worker.serve_health(
            metrics.registry, host=settings.host, port=settings.port, stall_seconds=settings.stall_seconds
        )
    get_logger(__name__).info("worker_started", worker=info.id, capabilities=list(settings.capabilities))
    try:
        return worker.run(worker_queues(settings.capabilities), pool="solo")
    finally:
        drawer.close()
