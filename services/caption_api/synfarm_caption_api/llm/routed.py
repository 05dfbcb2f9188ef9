"""The text generator of a process: one line of requests before several servers that may be busy or away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from prometheus_client import Gauge

from synfarm_caption_api.llm.blame import Suspicion, Tally
from synfarm_caption_api.llm.breaker import BreakerState
from synfarm_caption_api.llm.pauses import Clock, Draw, Handle, full_jitter
from synfarm_caption_api.llm.server import Place, Server
from synfarm_caption_api.llm.waiting import Line
from synfarm_caption_api.llm.wire import Ask, CallFailed, PushedBack
from synfarm_caption_api.text_generator import Generation, GeneratorAway, ModelInfo, PromptFails, PromptRefused

__all__ = ["RetryPolicy", "RoutedGenerator"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What a request goes through before its unit is given back.

    ``tries``: sendings that may fail (429 is none). ``first`` and ``longest``: seconds of the pause between them, with
    full jitter. ``away``: seconds for which requests wait while every server is away; then they fail at once, and the
    job shows ``stalled``. A restart that takes less costs no finished caption of the unit.
    """

    tries: int = 6
    first: float = 0.2
    longest: float = 5.0
    away: float = 5.0


class RoutedGenerator:
    """A ``TextGenerator`` over ``servers``; lives on one event loop.

    A request goes to the server with the smallest share of its places taken. All servers in use answer with the same
    model, because a caption records one: a server with another model is left out until it agrees.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        policy: RetryPolicy,
        *,
        clock: Clock,
        draw: Draw,
        waiting: Gauge,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        """``close``: ends the connections. Nothing is sent before the first call."""
        if not servers:
            raise ValueError("a generator needs at least one server")
        self._servers, self._policy, self._clock, self._draw = tuple(servers), policy, clock, draw
        self._close = close
        self._line, self._tally = Line(), Tally()
        waiting.set_function(lambda: float(len(self._line)))
        self._turn = 0
        self._began = False
        self._closed = False
        self._deadline: Handle | None = None
        self._expired = False
        self._model: ModelInfo | None = None

    async def info(self) -> ModelInfo:
        """The model of the servers in use."""
        if self._model is None:
            place = await self._place(None, front=True)
            place.server.release(place)
        assert self._model is not None
        return self._model

    async def probe(self) -> None:
        """Ask every server now; one that answers is enough."""
        answers = await asyncio.gather(*(server.ask() for server in self._servers), return_exceptions=True)
        reasons = []
        for server, answer in zip(self._servers, answers, strict=True):
            if not isinstance(answer, BaseException):
                return
            if not isinstance(answer, CallFailed):
                raise answer
            reasons.append(f"{server.url}: {answer}")
        raise GeneratorAway(f"LLM away: {'; '.join(reasons)}")

    async def generate(
        self, prompt: str, *, seed: int, temperature: float, top_p: float, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Generation:
        """See :class:`synfarm_caption_api.text_generator.TextGenerator`."""
        ask = Ask(prompt, seed, temperature, top_p, max_new_tokens, tuple(stop))
        avoid: Server | None = None
        failures, suspicion = 0, Suspicion(self._tally)
        while True:
            place = await self._place(avoid, front=avoid is not None)
            server = avoid = place.server
            try:
                generation = await place.api.complete(ask)
            except PushedBack as error:
                server.pushed_back(place, error)
                continue
            except CallFailed as error:
                again = suspicion.raised
                suspicion.failed(error)
                server.failed(place, error, again=again and error.said_no)
                failures += 1
                if failures >= self._policy.tries:
                    if suspicion.confirmed:
                        others = f"while {suspicion.others_answered} others were answered"
                        raise PromptFails(
                            f"the LLM fails at this request, {failures} times {others}: {error}"
                        ) from error
                    raise GeneratorAway(f"LLM at {server.url}, try {failures}: {error}") from error
            except PromptRefused:
                server.refused(place)
                raise
            except BaseException:
                server.release(place)
                raise
            else:
                suspicion.answered()
                server.answered(place, generation.tokens)
                return generation
            server.retried()
            await self._pause(failures - 1)

    async def aclose(self) -> None:
        """End probes and connections; whoever still waits fails."""
        self._closed = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._line.dismiss(GeneratorAway, "the generator is closed")
        for server in self._servers:
            await server.close()
        await self._close()

    async def _place(self, avoid: Server | None, *, front: bool) -> Place:
        if self._closed:
            raise GeneratorAway("the generator is closed")
        if not self._began:
            self._began = True
            for server in self._servers:
                server.begin(self._changed, self._unfit)
            self._note_away()
        if front or self._line.first() is None:
            chosen = self._choose(avoid)
            if chosen is not None:
                return chosen.take()
        if self._given_up():
            raise GeneratorAway(self._reasons())
        return await self._line.wait(avoid, front=front)

    def _choose(self, avoid: Server | None) -> Server | None:
        """The least loaded server with room; equal ones in turn."""
        best: Server | None = None
        count = len(self._servers)
        for i in range(count):
            server = self._servers[(self._turn + i) % count]
            if not server.has_room:
                continue
            if best is None or (server is avoid, server.load) < (best is avoid, best.load):
                best = server
        self._turn = (self._turn + 1) % count
        return best

    def _changed(self) -> None:
        """A place may be free, or a breaker has moved."""
        self._note_away()
        while (waiter := self._line.first()) is not None:
            server = self._choose(waiter.avoid)
            if server is None:
                break
            self._line.give(server.take())
        if self._given_up():
            self._line.dismiss(GeneratorAway, self._reasons())

    def _note_away(self) -> None:
        if any(server.state is BreakerState.CLOSED for server in self._servers):
            self._expired = False
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
        elif self._deadline is None:
            self._deadline = self._clock.call_later(self._policy.away, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._changed()

    def _given_up(self) -> bool:
        """Whether all servers have been away for long; one on trial is waited for."""
        return self._expired and all(server.state is BreakerState.OPEN for server in self._servers)

    def _reasons(self) -> str:
        return "LLM away: " + "; ".join(f"{server.url}: {server.reason}" for server in self._servers)

    def _unfit(self, server: Server, model: ModelInfo) -> str | None:
        """Called when a server has told its model, before it gets work."""
        others = [other for other in self._servers if other is not server and other.state is not BreakerState.OPEN]
        if others and self._model is not None and not _same(model, self._model):
            return f"serves {_name(model)}, while {others[0].url} serves {_name(self._model)}: give one model at a time"
        self._model = model
        return None

    async def _pause(self, count: int) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seconds = full_jitter(self._draw, count, first=self._policy.first, longest=self._policy.longest)
        timer = self._clock.call_later(seconds, over.set_result, None)
        try:
            await over
        finally:
            timer.cancel()


def _same(one: ModelInfo, other: ModelInfo) -> bool:
    """Not every server tells a revision."""
    revisions = {one.revision, other.revision} - {None}
    return one.model == other.model and len(revisions) <= 1


def _name(model: ModelInfo) -> str:
    return repr(model.model if model.revision is None else f"{model.model}@{model.revision}")
