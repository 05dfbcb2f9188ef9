"""Building the text generator of a process from its settings."""

from __future__ import annotations

import asyncio
import random
from functools import partial

from prometheus_client import CollectorRegistry

from synfarm_caption_api.llm.breaker import Breaker
from synfarm_caption_api.llm.discovery import discover
from synfarm_caption_api.llm.http import JsonHttp, open_session
from synfarm_caption_api.llm.limiter import AdaptiveLimit
from synfarm_caption_api.llm.metrics import LlmMetrics
from synfarm_caption_api.llm.routed import RetryPolicy, RoutedGenerator
from synfarm_caption_api.llm.server import Server, label_of
from synfarm_caption_api.settings import LlmSettings
from synfarm_caption_api.text_generator import TextGenerator

__all__ = ["make_generator"]


async def make_generator(settings: LlmSettings, registry: CollectorRegistry | None = None) -> TextGenerator:
    """The generator, bound to the running event loop; nothing is sent yet. Its metrics go to ``registry``."""
    loop, draw = asyncio.get_running_loop(), random.Random().random
    token = settings.token.get_secret_value() if settings.token else None
    session = open_session(token=token, timeout=settings.timeout_seconds)
    metrics = LlmMetrics(registry or CollectorRegistry())
    servers = [
        Server(
            url,
            partial(discover, JsonHttp(session, url), settings.api, settings.model),
            AdaptiveLimit(settings.max_in_flight, start=settings.start_in_flight),
            breaker=Breaker(),
            clock=loop,
            draw=draw,
            metrics=metrics.of(label_of(url)),
            patience=settings.patience_seconds,
        )
        for url in settings.urls
    ]
    policy = RetryPolicy(tries=settings.tries, away=settings.away_seconds)
    return RoutedGenerator(servers, policy, clock=loop, draw=draw, waiting=metrics.waiting, close=session.close)
