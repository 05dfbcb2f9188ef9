"""One LLM server as the router sees it: places, limit, breaker, and the probe that brings it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from synfarm.telemetry import get_logger
from synfarm_caption_api.llm.breaker import Breaker, BreakerState
from synfarm_caption_api.llm.limiter import AdaptiveLimit
from synfarm_caption_api.llm.metrics import ServerMetrics
from synfarm_caption_api.llm.pauses import Clock, Draw, Handle, full_jitter
from synfarm_caption_api.llm.wire import CallFailed, Discover, LlmApi, PushedBack
from synfarm_caption_api.text_generator import ModelInfo

__all__ = ["Place", "Server", "label_of"]

_log = get_logger(__name__)

_PROBE_SECONDS = 5.0
_PROBE_FIRST, _PROBE_LONGEST = 1.0, 10.0
_COOL_FIRST, _COOL_LONGEST = 0.1, 5.0
_RETRY_AFTER_LONGEST = 60.0


@dataclass(eq=False, slots=True)
class Place:
    """The right to one request; ends with exactly one of the methods of :class:`Server` that take it."""

    server: Server
    api: LlmApi
    epoch: int
    since: float


class Server:
    """Lives on one event loop, like the router; every method but the probe is synchronous."""

    def __init__(
        self,
        url: str,
        discover: Discover,
        limit: AdaptiveLimit,
        *,
        breaker: Breaker,
        clock: Clock,
        draw: Draw,
        metrics: ServerMetrics,
        patience: float,
    ) -> None:
        """``patience``: seconds of nothing but 429 after which the server counts as away."""
        self.url, self._discover, self._limit, self._breaker = url, discover, limit, breaker
        self._clock, self._draw, self._metrics, self._patience = clock, draw, metrics, patience
        self._changed: Callable[[], None] = lambda: None
        self._unfit: Callable[[Server, ModelInfo], str | None] = lambda server, model: None
        self._api: LlmApi | None = None
        self._in_flight = 0
        self._trial: Place | None = None
        self._pause_ends = float("-inf")
        self._pause: Handle | None = None
        self._busy_since: float | None = None
        self._busy_rounds = 0
        self._timers: set[Handle] = set()
        self._probing: asyncio.Task[None] | None = None
        metrics.limit.set_function(lambda: float(limit.limit))
        metrics.in_flight.set_function(lambda: float(self._in_flight))

    def begin(self, changed: Callable[[], None], unfit: Callable[[Server, ModelInfo], str | None]) -> None:
        """Ask the server what it is, and again until it answers.

        Args:
            changed: called when a place may have become free, or the breaker has moved.
            unfit: why a server with this model must not be used, if so.
        """
        self._changed, self._unfit = changed, unfit
        # Not before: a process that has asked for nothing yet has no server that is away.
        self._metrics.entered(self.state)
        self._start_probe()

    @property
    def state(self) -> BreakerState:
        return self._breaker.state

    @property
    def reason(self) -> str:
        """Why it is away, where it is."""
        return self._breaker.reason

    @property
    def model(self) -> ModelInfo | None:
        """Known once it has answered."""
        return self._api.info.model if self._api else None

    @property
    def load(self) -> float:
        """Share of its places that is taken."""
        return self._in_flight / self._limit.limit if self.state is BreakerState.CLOSED else 0.0

    @property
    def has_room(self) -> bool:
        if self.state is BreakerState.OPEN or self._pause is not None:
            return False
        return self._trial is None if self.state is BreakerState.HALF_OPEN else self._in_flight < self._limit.limit

    def take(self) -> Place:
        """A place; only where there is room."""
        assert self._api is not None
        place = Place(self, self._api, self._breaker.epoch, self._clock.time())
        if self.state is BreakerState.HALF_OPEN:
            self._trial = place
        self._in_flight += 1
        return place

    def answered(self, place: Place, tokens: int = 0) -> None:
        """The request was answered well, with so many tokens."""
        self._metrics.ended("answered")
        self._metrics.tokens.inc(tokens)
        self._metrics.seconds.observe(self._clock.time() - place.since)
        self._limit.answered(self._in_flight)
        self._alive(place)

    def refused(self, place: Place) -> None:
        """The request itself was refused: the server works."""
        self._metrics.ended("refused")
        self._alive(place)

    def pushed_back(self, place: Place, error: PushedBack) -> None:
        """The server is busy: fewer at a time from now on, and this place cools down before it is used again.

        A Retry-After is for all requests, not only for the one that met it.
        """
        self._metrics.ended("pushed_back")
        now = self._clock.time()
        if self._limit.pushed_back(now):
            self._busy_rounds += 1
        if self._busy_since is None:
            self._busy_since = now
        if now - self._busy_since > self._patience:
            if place.epoch == self._breaker.epoch and self.state is not BreakerState.OPEN:
                self._trip(f"overloaded: nothing but push-backs for {self._patience:.0f} s ({error})")
        elif self.state is BreakerState.HALF_OPEN:
            self._succeed(place)  # busy is alive
        if error.retry_after is not None:
            self._hold(min(error.retry_after, _RETRY_AFTER_LONGEST))
            self.release(place)
        else:
            rounds = max(0, self._busy_rounds - 1)
            cool = full_jitter(self._draw, rounds, first=_COOL_FIRST, longest=_COOL_LONGEST)
            self._later(cool, self.release, place)

    def failed(self, place: Place, error: CallFailed, *, again: bool = False) -> None:
        """The request was not answered.

        ``again``: servers have said no to this very request before, and to no other that is told here; it then says
        nothing new of this server.
        """
        self._metrics.ended("timed_out" if error.timed_out else "failed")
        before = self.state
        if not again:
            self._breaker.failed(place.epoch, str(error), hopeless=error.hopeless)
        if before is not BreakerState.OPEN and self.state is BreakerState.OPEN:
            self._busy_since = None
            self._opened()
        self.release(place)

    def retried(self) -> None:
        """A request that failed here is sent again."""
        self._metrics.retries.inc()

    def release(self, place: Place) -> None:
        """The place is free; of the request nothing is known (it was cancelled), or all has been said."""
        if self._trial is place:
            self._trial = None
        self._in_flight -= 1
        self._changed()

    async def close(self) -> None:
        """Stop probing."""
        for timer in (*self._timers, self._pause):
            if timer is not None:
                timer.cancel()
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def ask(self) -> LlmApi:
        """What the server says that it is, now; changes nothing.

        Raises:
            CallFailed
        """
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await self._discover()
        except TimeoutError as error:
            raise CallFailed(f"no answer within {_PROBE_SECONDS:.0f} s", timed_out=True) from error
        except PushedBack as error:
            raise CallFailed(str(error)) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CallFailed(f"answers what no LLM server answers: {error!r}", hopeless=True) from error

    def _alive(self, place: Place) -> None:
        self._busy_since, self._busy_rounds = None, 0
        self._succeed(place)
        self.release(place)

    def _succeed(self, place: Place) -> None:
        before = self.state
        self._breaker.succeeded(place.epoch)
        if before is not self.state:
            self._metrics.entered(self.state)
            _log.info("llm_back", server=self.url)

    def _trip(self, reason: str) -> None:
        self._breaker.trip(reason)
        self._opened()
        self._changed()

    def _hold(self, seconds: float) -> None:
        ends = self._clock.time() + seconds
        if ends <= self._pause_ends and self._pause is not None:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._pause_ends, self._pause = ends, self._clock.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._changed()

    def _opened(self) -> None:
        _log.warning("llm_away", server=self.url, reason=self.reason)
        self._metrics.openings.inc()
        self._metrics.entered(self.state)
        self._trial = None
        self._probe_later()

    def _probe_later(self) -> None:
        count = max(0, self._breaker.openings - 1)
        self._later(full_jitter(self._draw, count, first=_PROBE_FIRST, longest=_PROBE_LONGEST), self._start_probe)

    def _start_probe(self) -> None:
        self._probing = asyncio.ensure_future(self._probe())

    async def _probe(self) -> None:
        try:
            api = await self.ask()
        except CallFailed as error:
            self._stay_away(str(error))
            return
        reason = self._unfit(self, api.info.model)
        if reason is not None:
            self._stay_away(reason)
            return
        self._api = api
        self._limit.restart(api.info.max_in_flight)
        self._breaker.probed()
        self._metrics.entered(self.state)
        _log.info("llm_found", server=self.url, model=api.info.model.model, api=type(api).__name__)
        self._changed()

    def _stay_away(self, reason: str) -> None:
        if reason != self.reason:
            _log.warning("llm_still_away", server=self.url, reason=reason)
        self._breaker.still_away(reason)
        self._probe_later()
        self._changed()

    def _later(self, delay: float, callback: Callable[..., None], *arguments: object) -> None:
        def due() -> None:
            self._timers.discard(timer)
            callback(*arguments)

        timer = self._clock.call_later(delay, due)
        self._timers.add(timer)


def label_of(url: str) -> str:
    """What a metric or a log calls the server: host, port and path."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")
