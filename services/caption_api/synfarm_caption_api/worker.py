"""Composition root of the caption worker: ``python -m synfarm_caption_api.worker``."""

from __future__ import annotations

import sys

from prometheus_client import CollectorRegistry

from synfarm.contracts.jobs import JobSpec, Lane
from synfarm.contracts.renders import CAPTION_TASK, caption_queue
from synfarm.contracts.versions import read_versions
from synfarm.faults import Faults
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.patience import Patience
from synfarm.queue.process import WorkerProcess, worker_info
from synfarm.queue.trust import refused_by_redis
from synfarm.queue.worker_metrics import UnitMetrics
from synfarm.settings import ProcessSettings, RedisSettings, StoreSettings
from synfarm.starting import tells_refused_settings
from synfarm.storage.opening import REFUSED, open_proven, tell_unusable
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import configure_logging, get_logger
from synfarm.tracing import TracingMissing, open_tracing
from synfarm_caption_api.caption_work import CaptionWork
from synfarm_caption_api.generators import make_generator
from synfarm_caption_api.loop_thread import LoopThread
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.settings import LlmSettings, WorkerSettings

__all__ = ["main"]


@tells_refused_settings
def main() -> int:
    """Consume ``caption.<lane>``, high lane first, until SIGTERM; the exit code."""
    process, settings, llm = ProcessSettings(), WorkerSettings(), LlmSettings()
    configure_logging(process.log_level, process.log_format, process="caption-worker")
    try:
        store = open_proven(StoreSettings())
        tracing = open_tracing(process.tracing, "caption-worker")
    except StoreError as error:
        return tell_unusable(error)
    except TracingMissing as error:
        get_logger(__name__).error("tracing_refused", reason=str(error))
        return REFUSED
    if refused_by_redis(RedisSettings()):
        return REFUSED
    faults = Faults(process.faults)
    info = worker_info("caption", slots=settings.units, model=llm.url)
    worker = WorkerProcess(
        store,
        info,
        redis_settings=RedisSettings(),
        faults=faults,
        grace_seconds=settings.grace_seconds,
        patience=Patience(settings.stall_seconds),
        tracing=tracing,
    )
    loop = LoopThread()
    registry = CollectorRegistry()
    generator = loop.run(make_generator(llm, registry))
    work = CaptionWork(
        store=store,
        board=worker.board,
        dispatcher=Dispatcher(worker.app, worker.board, tracing),
        generator=generator,
        loop=loop,
        pools=load_pools(),
        faults=faults,
    )
    worker.take(CAPTION_TASK, work, UnitMetrics("synfarm_caption_", registry).left)
    if settings.port is not None:
        worker.serve_health(registry, host=settings.host, port=settings.port)
    get_logger(__name__).info("caption_worker_started", worker=info.id, units=settings.units, llm=llm.url)
    try:
        queues = [caption_queue(lane, version) for lane in Lane for version in read_versions(JobSpec)]
        return worker.run(queues, pool="threads", concurrency=settings.units)
    finally:
        loop.run(generator.aclose())
        loop.close()
        tracing.close(worker.draining.remaining)


if __name__ == "__main__":
    sys.exit(main())
