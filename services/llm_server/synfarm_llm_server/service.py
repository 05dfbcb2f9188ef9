"""Between the event loop and the engine's thread: admission, events, cancellation, metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from synfarm_llm_server.api.errors import TgiError, generation_failed, loading, overloaded
from synfarm_llm_server.api.validation import CheckedRequest
from synfarm_llm_server.engine.loop import Engine, EngineFailed, EngineStopped
from synfarm_llm_server.engine.request import TokenEvent
from synfarm_llm_server.metrics import LlmMetrics
from synfarm_llm_server.model.loading import LoadedModel

__all__ = ["Admission", "GenerationService"]


class Admission:
    """A place for one request: a try-acquire, because a client does better with an early 429 than in a long queue."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0

    def __enter__(self) -> Admission:
        if self.taken >= self._limit:
            raise overloaded()
        self.taken += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class GenerationService:
    """What the routes talk to; lives in the event loop. ``ready`` is called once the model is loaded."""

    def __init__(self, max_concurrent_requests: int, metrics: LlmMetrics) -> None:
        self.admission = Admission(max_concurrent_requests)
        self.metrics = metrics
        self._engine: Engine | None = None
        self._model: LoadedModel | None = None

    def ready(self, model: LoadedModel, engine: Engine) -> None:
        self._model, self._engine = model, engine
        self.metrics.watch(engine)

    @property
    def healthy(self) -> bool:
        return self._engine is not None and self._engine.alive

    @property
    def model(self) -> LoadedModel:
        """The model.

        Raises:
            TgiError: 503 while it loads and after the engine has failed.
        """
        if self._model is None:
            raise loading("Model is loading")
        return self._model

    async def events(self, request: CheckedRequest, *, seed: int | None = None) -> AsyncIterator[TokenEvent]:
        """Run one generation; leaving the iteration early takes its row out of the batch.

        Raises:
            TgiError: 424, the generation failed; 503, the server does not run.
        """
        engine = self._engine
        if engine is None:
            raise loading("Model is loading")
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[TokenEvent | Exception] = asyncio.Queue()

        def emit(event: TokenEvent | Exception) -> None:
            # A loop that has closed has no requester left.
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, event)

        order = request.order(emit, seed=seed)
        began = time.monotonic()
        try:
            engine.submit(order)
            while True:
                event = await queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if event.finish is not None:
                    self.metrics.finished(time.monotonic() - began, len(request.prompt), event.index)
                    return
        except (EngineFailed, EngineStopped) as error:
            self.metrics.failed("generation")
            raise generation_failed(error) from error
        finally:
            order.cancel()

    async def whole(self, request: CheckedRequest, *, seed: int | None = None) -> list[TokenEvent]:
        """All events of one generation."""
        async with aclosing(self.events(request, seed=seed)) as events:  # type: ignore[type-var]
            return [event async for event in events]

    def refused(self, error: TgiError) -> None:
        self.metrics.failed(error.error_type)
