"""A request that crashes its server each time is the unit's fault; an outage or a flood of errors never is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from synfarm_caption_api.llm.breaker import BreakerState
from synfarm_caption_api.llm.wire import Ask, CallFailed
from synfarm_caption_api.text_generator import Generation, GeneratorAway, PromptFails

MakeRig = Callable[..., Any]
POISON = 666


def poison(rig: Any, error: CallFailed, *, also: Callable[[Ask], bool] = lambda ask: False) -> None:
    """Every server fails at the request with this seed, and at those that ``also`` picks."""
    for llm in rig.llms:
        plain = llm.complete

        async def complete(ask: Ask, plain: Callable[[Ask], Any] = plain) -> Generation:
            if ask.seed == POISON or also(ask):
                raise error
            good: Generation = await plain(ask)
            return good

        llm.complete = complete


async def among_others(rig: Any) -> asyncio.Task[Generation]:
    """The poisoned request, with others asked as long as it tries."""
    task = rig.ask(POISON)
    others = []
    for seed in range(400):
        if task.done():
            break
        others.append(rig.ask(seed))
        await rig.clock.turn(0.1)
    await rig.clock.turn(30)
    await asyncio.gather(*others, return_exceptions=True)
    assert task.done()
    return task  # type: ignore[no-any-return]


@pytest.mark.parametrize("servers", [1, 2])
async def test_a_request_that_fails_alone_is_refused(rig: MakeRig, servers: int) -> None:
    r = rig(*["smol"] * servers)
    poison(r, CallFailed("HTTP 500: CUDA error", said_no=True))
    with pytest.raises(PromptFails, match=r"fails at this request, 6 times while \d+ others were answered: HTTP 500"):
        await (await among_others(r))
    assert all(server.state is BreakerState.CLOSED for server in r.servers)


@pytest.mark.parametrize(("poisoned", "captions"), [(1, 8), (2, 16), (4, 64), (8, 64)])
async def test_every_one_of_a_unit_that_holds_several_is_refused(rig: MakeRig, poisoned: int, captions: int) -> None:
    """All asked at once, as a unit asks; the others are answered, and no breaker stays open."""
    r = rig("smol", limit=64, start=64)
    bad = set(range(0, captions, captions // poisoned))
    poison(r, CallFailed("HTTP 500: CUDA error", said_no=True), also=lambda ask: ask.seed in bad)
    tasks = [r.ask(seed) for seed in range(captions)]
    await r.clock.turn(120)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {seed for seed, end in enumerate(ended) if isinstance(end, PromptFails)} == bad
    assert sum(isinstance(end, Generation) for end in ended) == captions - poisoned
    assert (await r.ask(1)).tokens == 4
    assert r.servers[0].state is BreakerState.CLOSED


async def test_a_request_that_is_never_answered_at_all_is_no_proof(rig: MakeRig) -> None:
    """A reset connection or a time-out may be the network's."""
    r = rig("smol")
    poison(r, CallFailed("connection reset"))
    with pytest.raises(GeneratorAway):
        await (await among_others(r))


async def test_a_server_that_fails_by_chance_is_ill(rig: MakeRig) -> None:
    """Each of the others fails once before it is answered, a third of them: the server is ill, and no prompt is."""
    r, met = rig("smol"), set[int]()

    def at_first(ask: Ask) -> bool:
        first = ask.seed % 3 == 0 and ask.seed not in met
        met.add(ask.seed)
        return first

    poison(r, CallFailed("HTTP 500", said_no=True), also=at_first)
    with pytest.raises(GeneratorAway):
        await (await among_others(r))


async def test_alone_on_the_line_it_looks_like_an_outage(rig: MakeRig) -> None:
    r = rig("smol", away=5.0)
    await r.ask()
    poison(r, CallFailed("HTTP 500", said_no=True))
    task = r.ask(POISON)
    await r.clock.turn(60)
    with pytest.raises(GeneratorAway):
        await task
