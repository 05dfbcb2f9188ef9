"""Composition root of the render worker: reads settings, wires the parts, runs Celery with the ``solo`` pool."""

from __future__ import annotations

from functools import partial

from synfarm.contracts.jobs import JobSpec, Lane
from synfarm.contracts.renders import RENDER_TASK, render_queue, skill
from synfarm.contracts.versions import read_versions
from synfarm.faults import Faults
from synfarm.queue.finishing import FinishingRoom
from synfarm.queue.patience import Patience
from synfarm.queue.process import WorkerProcess, worker_info
from synfarm.queue.trust import refused_by_redis
from synfarm.queue.unit import UnitFault
from synfarm.settings import ProcessSettings, RedisSettings, StoreSettings
from synfarm.starting import tells_refused_settings
from synfarm.storage.opening import REFUSED, open_proven, tell_unusable
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import configure_logging, get_logger
from synfarm.tracing import TracingMissing, open_tracing
from synfarm_render_worker.device_clock import DeviceClock
from synfarm_render_worker.drawing import UnitDrawer
from synfarm_render_worker.loading import ToldLoading, preload
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.prefetch import CaptionPrefetch
from synfarm_render_worker.renderer import Renderer, RendererFactory
from synfarm_render_worker.rendering import UnitRenderer
from synfarm_render_worker.scoring.shelf import ScorerShelf, make_scorer, with_scores
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.shelf import RendererShelf

__all__ = ["main", "run", "worker_queues"]


def worker_queues(capabilities: tuple[str, ...]) -> list[str]:
    """Queues in the order in which they are served: the high lane of every capability first."""
    skills = [skill(capability, version) for capability in capabilities for version in read_versions(JobSpec)]
    return [render_queue(what, lane) for lane in Lane for what in skills]


@tells_refused_settings
def main() -> int:
    """Run until SIGTERM or until the broker is lost; the exit code tells which (0, or not 0)."""
    settings, metrics = RenderWorkerSettings(), RenderMetrics()
    scorers = ScorerShelf(partial(make_scorer, settings=settings))
    shelf = RendererShelf(settings, told=metrics.count_load, halved=metrics.halvings.inc)
    return run(with_scores(shelf, scorers), settings, metrics)


def run(renderers: RendererFactory, settings: RenderWorkerSettings, metrics: RenderMetrics) -> int:
    """A worker around any renderers: as :func:`main`."""
    process = ProcessSettings()
    configure_logging(process.log_level, process.log_format, process="render-worker")
    try:
        store = open_proven(StoreSettings())
        tracing = open_tracing(process.tracing, "render-worker")
    except StoreError as error:
        return tell_unusable(error)
    except TracingMissing as error:
        get_logger(__name__).error("tracing_refused", reason=str(error))
        return REFUSED
    if refused_by_redis(RedisSettings()):
        return REFUSED
    faults, device = Faults(process.faults), DeviceClock()
    info = worker_info("render", capabilities=settings.capabilities)
    room = FinishingRoom(units=settings.finishing, size=settings.finishing_bytes)
    worker = WorkerProcess(
        store,
        info,
        redis_settings=RedisSettings(),
        faults=faults,
        grace_seconds=settings.grace_seconds,
        patience=Patience(settings.stall_seconds, settings.load_seconds),
        finishing=room,
        tracing=tracing,
    )
    told = ToldLoading(renderers, worker.presence, worker.patience, faults)
    queues = worker_queues(settings.capabilities)
    metrics.watch(device, lambda: room.units)
    prefetch = CaptionPrefetch(
        store,
        worker.specs,
        worker.waiting(queues).next,
        seen=device.waiting,
        read=lambda there: metrics.count_captions(prefetched=there),
    )
    drawer = UnitDrawer(threads=settings.encode_threads, batch=settings.batch, metrics=metrics, device=device)

    def loaded(renderer: Renderer) -> None:
        worker.order.loaded(renderer.capability)

    unit_renderer = UnitRenderer(
        store=store,
        board=worker.board,
        faults=faults,
        renderers=told,
        drawer=drawer,
        metrics=metrics,
        worker=info.id,
        device=device,
        prefetch=prefetch,
        loaded=loaded,
        tracing=tracing,
    )
    worker.take(RENDER_TASK, unit_renderer.work, metrics.units.left, prefetch.claimed)
    if settings.port is not None:
        worker.serve_health(metrics.registry, host=settings.host, port=settings.port)
    get_logger(__name__).info("worker_started", worker=info.id, capabilities=list(settings.capabilities))
    wanted, prepare = settings.preloaded, None
    if wanted is not None:
        prepare = partial(preload, told, wanted, worker.presence, retry_seconds=settings.preload_retry_seconds)
    prefetch.start()
    try:
        return worker.run(queues, pool="solo", prepare=prepare)
    except UnitFault as error:
        get_logger(__name__).error("preload_refused", error=str(error), next_step="correct SYNFARM_RENDER_PRELOAD")
        return REFUSED
    finally:
        prefetch.stop()
        drawer.close()
        tracing.close(worker.draining.remaining)
