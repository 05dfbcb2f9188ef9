"""The router by a clock that the test turns: choice, pacing, retries, breakers, and what happens when all are away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.queue.unit import EnvironmentFault
from synfarm_caption_api.llm.breaker import BreakerState
from synfarm_caption_api.llm.wire import CallFailed, PushedBack
from synfarm_caption_api.text_generator import GeneratorAway, PromptRefused

MakeRig = Callable[..., Any]


async def test_work_is_spread_by_load_and_no_limit_is_passed(rig: MakeRig) -> None:
    r = rig("smol", "smol", limit=4, start=4)
    r.llms[0].gate = r.llms[1].gate = asyncio.Event()
    tasks = [r.ask(i) for i in range(12)]
    await r.clock.settle()
    assert [llm.now for llm in r.llms] == [4, 4]
    assert r.metric("waiting") == 4
    assert r.metric("in_flight", server="s0") == r.metric("limit", server="s0") == 4
    r.llms[0].gate.set()
    answers = await asyncio.gather(*tasks)
    assert {answer.text for answer in answers} == {" a red dog\n"}
    assert sorted(ask.seed for llm in r.llms for ask in llm.asked) == list(range(12))
    assert max(llm.peak for llm in r.llms) == 4
    assert r.metric("in_flight", server="s0") == r.metric("waiting") == 0


async def test_a_server_that_nobody_has_asked_for_anything_is_not_shown_as_away(rig: MakeRig) -> None:
    r = rig("smol")
    assert r.metric("breaker_state", server="s0", state="open") == 0
    await r.ask()
    assert r.metric("breaker_state", server="s0", state="closed") == 1
    assert r.metric("tokens_total", server="s0") == 4


async def test_the_server_with_the_smallest_share_of_its_places_taken_is_chosen(rig: MakeRig) -> None:
    r = rig("smol", "smol", limit=8, start=8, caps=(2, None))
    await asyncio.gather(r.ask(), r.ask())  # both have told what they are
    r.llms[0].gate = r.llms[1].gate = asyncio.Event()
    tasks = [r.ask(i) for i in range(5)]
    await r.clock.settle()
    assert [llm.now for llm in r.llms] == [1, 4]
    r.llms[0].gate.set()
    await asyncio.gather(*tasks)


async def test_the_cap_that_a_server_tells_is_kept(rig: MakeRig) -> None:
    r = rig("smol", "smol", limit=64, start=64, caps=(3, None))
    r.llms[0].gate = r.llms[1].gate = asyncio.Event()
    tasks = [r.ask(i) for i in range(20)]
    await r.clock.settle()
    assert [llm.now for llm in r.llms] == [3, 17]
    r.llms[0].gate.set()
    await asyncio.gather(*tasks)


async def test_a_push_back_halves_the_limit_goes_to_another_server_and_is_no_failure(rig: MakeRig) -> None:
    r = rig("smol", "smol")
    await r.ask()
    r.llms[0].script = r.llms[1].script = [PushedBack("busy")]
    assert (await r.ask()).tokens == 4  # at once: the other server has room
    assert sorted(r.metric("limit", server=s) for s in ("s0", "s1")) == [4, 8]
    assert sum(r.metric("requests_total", server=s, outcome="pushed_back") for s in ("s0", "s1")) == 1
    assert sum(r.metric("retries_total", server=s) for s in ("s0", "s1")) == 0
    assert all(server.state is BreakerState.CLOSED for server in r.servers)


async def test_a_place_that_was_refused_cools_down_before_it_is_used_again(rig: MakeRig) -> None:
    r = rig("smol", limit=1, start=1, patience=600.0)
    await r.ask()
    r.llms[0].error = PushedBack("busy")
    task = r.ask()
    await r.clock.turn(60)
    # Without the pause the one place would be used at every turn of the loop; it grows to 5 s, half of it here.
    assert 15 < len(r.llms[0].asked) < 100
    r.llms[0].error = None
    await r.clock.turn(5)
    assert task.done()


async def test_retry_after_holds_all_requests_to_that_server(rig: MakeRig) -> None:
    r = rig("smol")
    await r.ask()
    r.llms[0].script = [PushedBack("busy", 20.0)]
    tasks = [r.ask(i) for i in range(1)]
    await r.clock.settle()
    tasks += [r.ask(i) for i in range(5)]
    await r.clock.turn(19.9)
    assert len(r.llms[0].asked) == 2
    await r.clock.turn(0.2)
    assert all(task.done() for task in tasks)


async def test_endless_push_back_counts_as_away_and_busy_that_ends_does_not(rig: MakeRig) -> None:
    r = rig("smol", patience=30.0)
    await r.ask()
    r.llms[0].error = PushedBack("busy")
    waited = r.ask()
    await r.clock.turn(20)
    r.llms[0].error = None
    await r.clock.turn(10)
    assert waited.done()
    assert (await waited).tokens == 4
    r.llms[0].error = PushedBack("busy")
    task = r.ask()
    await r.clock.turn(29)
    assert not task.done()
    await r.clock.turn(30)
    with pytest.raises(GeneratorAway, match="overloaded: nothing but push-backs for 30 s"):
        await task


async def test_a_failure_is_retried_after_a_jittered_pause_that_grows(rig: MakeRig) -> None:
    r = rig("smol", tries=3)
    await r.ask()
    r.llms[0].script = [CallFailed("500"), CallFailed("500")]
    task = r.ask()
    await r.clock.turn(0.09)
    assert len(r.llms[0].asked) == 2
    await r.clock.turn(0.02)  # half of 0.2 s
    assert len(r.llms[0].asked) == 3
    await r.clock.turn(0.18)
    assert not task.done()
    await r.clock.turn(0.03)  # half of 0.4 s
    assert task.done()
    assert r.metric("retries_total", server="s0") == 2
    assert r.metric("requests_total", server="s0", outcome="failed") == 2


async def test_tries_end_and_the_error_is_the_environment_s(rig: MakeRig) -> None:
    r = rig("smol", "smol", tries=2)
    r.llms[0].error = r.llms[1].error = CallFailed("HTTP 500", timed_out=True)
    task = r.ask()
    await r.clock.turn(3)
    with pytest.raises(GeneratorAway, match="try 2: HTTP 500"):
        await task
    assert issubclass(GeneratorAway, EnvironmentFault)
    assert {len(llm.asked) for llm in r.llms} == {1}, "the second try goes to the other server"
    assert r.metric("requests_total", server="s0", outcome="timed_out") == 1


async def test_work_of_a_server_that_went_away_moves_to_the_others(rig: MakeRig) -> None:
    r = rig("smol", "smol", limit=4, start=4)
    await r.ask()
    r.llms[0].gate = r.llms[1].gate = asyncio.Event()
    tasks = [r.ask(i) for i in range(16)]
    await r.clock.settle()
    r.llms[0].error = r.llms[0].there = CallFailed("connection refused")
    r.llms[0].gate.set()
    await r.clock.turn(30)
    assert [(await task).tokens for task in tasks] == [4] * 16
    assert r.servers[0].state is BreakerState.OPEN
    assert r.metric("breaker_state", server="s0", state="open") == 1
    assert r.metric("breaker_state", server="s1", state="closed") == 1
    assert r.metric("breaker_opened_total", server="s0") == 1
    sent = len(r.llms[0].asked)
    await asyncio.gather(*(r.ask(i) for i in range(20)))
    assert len(r.llms[0].asked) == sent, "an open breaker lets nothing through"


async def test_a_probe_brings_a_server_back_through_one_trial(rig: MakeRig) -> None:
    r = rig("smol", "smol", limit=8)
    await r.ask()
    llm, server = r.llms[0], r.servers[0]
    llm.error = llm.there = CallFailed("down")
    tasks = [r.ask(i) for i in range(20)]
    await r.clock.turn(20)
    await asyncio.gather(*tasks)
    assert server.state is BreakerState.OPEN
    sent, probes = len(llm.asked), len(llm.probes)
    await r.clock.turn(20)
    assert len(llm.probes) > probes + 1, "it is asked again and again without any traffic"
    llm.there = None  # it answers probes, but no request yet
    await r.clock.turn(10)
    assert server.state is BreakerState.HALF_OPEN
    tasks = [r.ask(i) for i in range(6)]
    await r.clock.turn(0.0)
    assert len(llm.asked) == sent + 1, "one trial, not a flood"
    await r.clock.turn(1)
    await asyncio.gather(*tasks)
    llm.error = None
    await r.clock.turn(10)
    await asyncio.gather(*(r.ask(i) for i in range(8)))
    assert server.state is BreakerState.CLOSED


async def test_a_short_outage_of_all_is_waited_out_and_costs_no_unit(rig: MakeRig) -> None:
    r = rig("smol", away=5.0)
    await r.ask()
    r.llms[0].error = r.llms[0].there = CallFailed("restarting")
    tasks = [r.ask(i) for i in range(10)]
    await r.clock.turn(2)
    assert r.servers[0].state is BreakerState.OPEN
    r.llms[0].error = r.llms[0].there = None
    await r.clock.turn(6)
    assert [(await task).tokens for task in tasks] == [4] * 10


async def test_when_all_are_away_for_long_requests_fail_and_later_ones_at_once(rig: MakeRig) -> None:
    r = rig("smol", "smol", away=5.0)
    await r.ask()
    for llm in r.llms:
        llm.error = llm.there = CallFailed("gone")
    tasks = [r.ask(i) for i in range(10)]
    await r.clock.turn(12)
    assert all(task.done() for task in tasks)
    for task in tasks:
        with pytest.raises(GeneratorAway):
            await task
    sent = sum(len(llm.asked) for llm in r.llms)
    with pytest.raises(GeneratorAway, match=r"LLM away: http://s0: gone; http://s1: gone"):
        await asyncio.wait_for(r.ask(), 1)  # by the real clock: the turned one stands still
    assert sum(len(llm.asked) for llm in r.llms) == sent
    for llm in r.llms:
        llm.error = llm.there = None
    await r.clock.turn(10)
    assert (await r.ask()).tokens == 4


async def test_no_server_at_the_start_is_told_after_a_while(rig: MakeRig) -> None:
    r = rig("smol", away=5.0)
    r.llms[0].there = CallFailed("connection refused")
    task = asyncio.create_task(r.generator.info())
    await r.clock.turn(4.9)
    assert not task.done()
    await r.clock.turn(0.2)
    with pytest.raises(GeneratorAway, match="connection refused"):
        await task


async def test_late_time_outs_of_an_outage_do_not_close_a_server_that_is_back(rig: MakeRig) -> None:
    r = rig("smol", limit=8)
    await r.ask()
    llm, server = r.llms[0], r.servers[0]
    llm.gate = asyncio.Event()
    hung = [r.ask(i) for i in range(6)]
    await r.clock.settle()
    gate, llm.gate = llm.gate, None
    llm.script = [CallFailed("reset"), CallFailed("reset")]
    others = [r.ask(i) for i in range(2)]
    await r.clock.settle()
    llm.script = [CallFailed("reset")] * 1
    others.append(r.ask(9))
    await r.clock.turn(10)
    await asyncio.gather(*others)
    assert server.state is BreakerState.CLOSED
    assert r.metric("breaker_opened_total", server="s0") == 1
    llm.script = [CallFailed("timed out at last", timed_out=True)] * 6
    gate.set()
    await r.clock.turn(10)
    await asyncio.gather(*hung)
    assert r.metric("breaker_opened_total", server="s0") == 1


async def test_a_server_with_another_model_is_left_out(rig: MakeRig) -> None:
    r = rig("smol", "large")
    first = await r.generator.info()
    await asyncio.gather(*(r.ask(i) for i in range(6)))
    used = {llm.info.model.model for llm in r.llms if llm.asked}
    assert used == {first.model}
    other = next(server for server in r.servers if server.state is BreakerState.OPEN)
    assert "give one model at a time" in other.reason


async def test_a_lone_server_may_come_back_with_another_model(rig: MakeRig) -> None:
    r = rig("smol")
    assert (await r.generator.info()).model == "smol"
    r.llms[0].error = r.llms[0].there = CallFailed("upgrade")
    task = r.ask()
    await r.clock.turn(1)
    r.llms[0].error = r.llms[0].there = None
    r.llms[0].info = type(r.llms[0].info)(type(r.llms[0].info.model)("smol-2"))
    r.servers[0]._trip("restart")
    await r.clock.turn(10)
    await task
    assert (await r.generator.info()).model == "smol-2"


async def test_a_refused_prompt_is_not_sent_again_and_the_server_is_well(rig: MakeRig) -> None:
    r = rig("smol")
    await r.ask()
    r.llms[0].script = [PromptRefused("too long") for _ in range(5)]
    for i in range(5):
        with pytest.raises(PromptRefused, match="too long"):
            await r.ask(i)
    assert len(r.llms[0].asked) == 6
    assert r.servers[0].state is BreakerState.CLOSED
    assert r.metric("requests_total", server="s0", outcome="refused") == 5


async def test_cancelled_requests_give_their_places_back(rig: MakeRig) -> None:
    r = rig("smol", limit=2, start=2)
    await r.ask()
    r.llms[0].gate = asyncio.Event()
    tasks = [r.ask(i) for i in range(6)]
    await r.clock.settle()
    tasks[0].cancel()  # in flight: its place goes to a waiting one, which is cancelled before it can use it
    await asyncio.sleep(0)
    tasks[2].cancel()
    tasks[4].cancel()
    await r.clock.settle()
    r.llms[0].gate.set()
    left = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in left] == [True, False, True, False, True, False]
    assert r.metric("in_flight", server="s0") == 0
    assert (await r.ask()).tokens == 4


async def test_a_cancelled_trial_leaves_room_for_another(rig: MakeRig) -> None:
    r = rig("smol")
    await r.ask()
    r.servers[0]._trip("gone")
    await r.clock.turn(2)
    assert r.servers[0].state is BreakerState.HALF_OPEN
    r.llms[0].gate = asyncio.Event()
    trial = r.ask()
    await r.clock.settle()
    trial.cancel()
    await r.clock.settle()
    r.llms[0].gate = None
    assert (await asyncio.wait_for(r.ask(), 5)).tokens == 4
    assert r.servers[0].state is BreakerState.CLOSED


async def test_what_was_pushed_back_is_first_in_line(rig: MakeRig) -> None:
    r = rig("smol", limit=1, start=1)
    await r.ask()
    r.llms[0].script = [PushedBack("busy")]
    tasks = [r.ask(i) for i in range(5)]
    await r.clock.turn(10)
    await asyncio.gather(*tasks)
    assert [ask.seed for ask in r.llms[0].asked[1:]] == [0, 0, 1, 2, 3, 4]


async def test_closing_ends_what_waits_and_every_timer(rig: MakeRig) -> None:
    r = rig("smol", limit=2, start=2)
    await r.ask()
    r.llms[0].script = [PushedBack("busy", 20.0)]
    cooling = r.ask()
    await r.clock.settle()
    r.servers[0]._trip("gone, and about to be asked again")
    r.llms[0].gate = asyncio.Event()
    await r.clock.turn(0)
    assert any(not timer.cancelled for timer in r.clock.timers)
    tasks = [cooling, *(r.ask(i) for i in range(1))]
    await r.clock.settle()
    await r.generator.aclose()
    r.llms[0].gate.set()
    await r.clock.settle()
    assert sum(isinstance(task.exception(), GeneratorAway) for task in tasks) == 2
    with pytest.raises(GeneratorAway, match="closed"):
        await r.ask()
    assert all(timer.cancelled for timer in r.clock.timers)


async def test_probe_is_content_with_one_server(rig: MakeRig) -> None:
    r = rig("smol", "smol")
    r.llms[0].there = CallFailed("gone")
    await r.generator.probe()
    r.llms[1].there = PushedBack("busy")
    with pytest.raises(GeneratorAway, match="s0: gone; http://s1: busy"):
        await r.generator.probe()
    assert r.clock.timers == [], "asking changes nothing"
