"""Composition root of the caption API: reads settings, builds clients, starts the feeder's thread."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from redis.asyncio import Redis as AsyncRedis

from synfarm.auth import Authenticator, bind_is_allowed, load_keys
from synfarm.concepts import load
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.event_hub import EventHub
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.queue.rate import RateLimit
from synfarm.queue.trust import tls_options
from synfarm.settings import AuthSettings, ProcessSettings, RedisSettings
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger
from synfarm.tracing import open_tracing
from synfarm_caption_api.api.application import make_application
from synfarm_caption_api.api.asks import Asks
from synfarm_caption_api.api.metrics import ApiMetrics
from synfarm_caption_api.api.reading import JobReader
from synfarm_caption_api.api.room import Room
from synfarm_caption_api.api.services import ApiServices
from synfarm_caption_api.api.work_metrics import WorkCollector
from synfarm_caption_api.caption_report.reporter import CaptionReporter
from synfarm_caption_api.feeder.crew import Crew
from synfarm_caption_api.feeder.run import FeederPulse, run_feeder
from synfarm_caption_api.feeder.settings import FeederSettings
from synfarm_caption_api.generators import make_generator
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.samples.reader import SampleReader
from synfarm_caption_api.settings import ApiSettings, LlmSettings, WebSettings
from synfarm_caption_api.submission import Submitter
from synfarm_caption_api.web.trainer import Trainer

__all__ = ["BindRefused", "create_app"]

_log = get_logger(__name__)
_WORKERS_START_SECONDS = 15.0


class BindRefused(RuntimeError):
    """The process has no keys and would listen beyond this machine."""


def create_app(settings: ApiSettings, store: ObjectStore, *, warmed: Callable[[], None] = lambda: None) -> FastAPI:
    """The application over ``store``, with everything real behind it; other connections are made when it starts.

    Args:
        warmed: called in a thread once all is loaded that stays for the life of the process.

    Raises:
        BindRefused: no keys, and ``host`` is not loopback.
        TracingMissing: traces are asked for without their libraries.
    """
    auth = AuthSettings()
    keys_known = load_keys(auth.auth_keys_file)
    if not bind_is_allowed(settings.host, auth, keys_known):
        raise BindRefused(
            f"Without keys this server listens on this machine only, not on {settings.host!r}. Set"
            " SYNFARM_AUTH_KEYS_FILE to a key file, SYNFARM_CAPTION_HOST=127.0.0.1, or SYNFARM_AUTH=off if you mean it."
        )
    if auth.auth == "off":
        _log.warning("auth_off", meaning="whoever reaches this server is its admin")
    tracing = open_tracing(ProcessSettings().tracing, "caption-api")
    pulse = FeederPulse() if settings.feeder else None
    metrics = ApiMetrics(pulse)
    trainer_url = WebSettings().trainer_url
    trainer = Trainer(trainer_url) if trainer_url else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis_settings = RedisSettings()
        redis, keys = connect(redis_settings), Keys(redis_settings.namespace)
        events_redis = AsyncRedis.from_url(
            redis_settings.url.get_secret_value(),
            decode_responses=True,
            health_check_interval=25,
            **tls_options(redis_settings),
        )
        flags, board = FlagBook(redis, keys, store), Board(redis, keys, RedisClock(redis))
        hub, generator = EventHub(events_redis, keys), await make_generator(LlmSettings(), metrics.registry)
        metrics.registry.register(WorkCollector(redis, keys))
        pools, vocabulary, samples = load_pools(), load("collage"), SampleReader(store)
        reports = CaptionReporter(store)
        crew = Crew(redis, keys, fresh_seconds=settings.fresh_seconds, start_seconds=_WORKERS_START_SECONDS)
        jobs = JobReader(store, board, flags, crew, fresh_seconds=settings.fresh_seconds)
        app.state.admit = RateLimit(events_redis, keys)
        submitter = Submitter(store, vocabulary, pools, tracing=tracing)
        app.state.services = ApiServices(
            store=store,
            redis=redis,
            keys=keys,
            flags=flags,
            hub=hub,
            jobs=jobs,
            samples=samples,
            reports=reports,
            room=Room(redis, keys, jobs),
            submitter=submitter,
            generator=generator,
            asks=Asks(settings.asks_at_once),
            pools=pools,
            vocabulary=vocabulary,
            metrics=metrics,
            pulse=pulse,
            health_age_seconds=settings.health_age_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        stop = threading.Event()
        feeder = threading.Thread(
            target=run_feeder,
            kwargs={
                "store": store,
                "redis": connect(redis_settings),
                "keys": keys,
                "app": make_app(redis_settings, "synfarm-feeder"),
                "settings": FeederSettings(),
                "stop": stop,
                "pulse": pulse,
            },
            name="feeder",
            daemon=True,
        )

        def warm() -> None:
            submitter.warm()
            warmed()

        threading.Thread(target=warm, name="recipes", daemon=True).start()
        if settings.feeder:
            feeder.start()
        try:
            yield
        finally:
            stop.set()
            if settings.feeder:
                feeder.join(timeout=10)
            await hub.close()
            await events_redis.aclose()
            await generator.aclose()
            samples.close()
            reports.close()
            tracing.close()
            if trainer is not None:
                await trainer.aclose()

    authenticate = Authenticator(auth, keys_known)
    return make_application(authenticate, metrics, lifespan, body_limit=settings.body_limit, trainer=trainer)
