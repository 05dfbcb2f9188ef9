"""The event ring: resume by id, reset when the id cannot be resumed, the end of a stream; and the same over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from synfarm.contracts.events import Event, EventType
from synfarm.web import event_stream
from synfarm_trainer.api.stream import EventHub, EventLog


def _state() -> dict[str, Any]:
    return {"state": "running", "step": 5}


async def _take(log: EventLog, last: str | None, count: int) -> list[Event]:
    found = []
    async for event in log.follow(last, _state):
        found.append(event)
        if len(found) == count:
            break
    return found


async def test_a_new_reader_gets_the_state_then_what_comes() -> None:
    log = EventHub("e1").log("r")
    log.publish(EventType.STEP, {"step": 1})
    task = asyncio.create_task(_take(log, None, 2))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(log.publish, EventType.STEP, {"step": 2})
    first, second = await asyncio.wait_for(task, 60)
    assert (first.type, first.id, first.data) == (EventType.STATE, "e1-1", _state())
    assert (second.type, second.id, second.data) == (EventType.STEP, "e1-2", {"step": 2})


async def test_a_known_id_is_resumed_without_loss() -> None:
    log = EventHub("e1").log("r")
    for step in range(1, 6):
        log.publish(EventType.STEP, {"step": step})
    assert [event.id for event in await _take(log, "e1-2", 3)] == ["e1-3", "e1-4", "e1-5"]


async def test_lost_epochs_old_ids_future_ids_and_nonsense_reset() -> None:
    log = EventHub("e1", ring=3).log("r")
    for step in range(1, 8):
        log.publish(EventType.STEP, {"step": step})
    for last in ("e0-6", "e1-3", "e1-8", "nonsense"):
        (event,) = await _take(log, last, 1)
        assert (event.type, event.id, event.data) == (EventType.RESET, "e1-7", _state()), last
    assert [event.id for event in await _take(log, "e1-4", 3)] == ["e1-5", "e1-6", "e1-7"]


async def test_the_last_event_ends_the_stream_for_every_reader() -> None:
    log = EventHub("e1").log("r")
    readers = [asyncio.create_task(_take(log, None, 10)) for _ in range(3)]
    await asyncio.sleep(0.05)
    log.publish(EventType.STATE, {"state": "completed"}, last=True)
    for events in await asyncio.wait_for(asyncio.gather(*readers), 60):
        assert events[-1].data == {"state": "completed"}
    assert [e.data for e in await asyncio.wait_for(_take(log, "e1-1", 10), 60)] == []


async def test_a_stream_that_is_idle_sends_comments() -> None:
    """As bytes on the wire: what keeps proxies from closing it, and tells clients that it lives."""
    log, sent, beat = EventHub("e1").log("r"), list[bytes](), asyncio.Event()

    async def receive() -> dict[str, Any]:
        await beat.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b""))
        if message.get("body", b"").startswith(b":"):
            beat.set()

    response = event_stream(log.follow(None, _state), heartbeat=1)
    await asyncio.wait_for(response({"type": "http", "method": "GET", "headers": []}, receive, send), 60)
    assert sent[1].startswith(b"id: e1-0\nevent: state\ndata: {")
    assert beat.is_set()


async def test_the_end_of_a_run_that_another_replica_follows_ends_the_stream() -> None:
    states = iter(["running", "running", "completed"])
    log = EventHub("e1").log("r")
    events = [event async for event in log.follow(None, lambda: {"state": next(states)}, look_again=0.01)]
    assert [(event.type, event.data["state"]) for event in events] == [
        (EventType.STATE, "running"),
        (EventType.STATE, "completed"),
    ]


async def test_a_log_that_was_forgotten_resets_its_readers() -> None:
    hub = EventHub("e1", logs=1)
    hub.log("r").publish(EventType.STEP, {"step": 1})
    hub.log("another")
    (event,) = await _take(hub.log("r"), "e1-1", 1)
    assert (event.type, event.id) == (EventType.RESET, "e1-0")


def _events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


def test_events_over_http(service: Any, ended: Callable[..., Any]) -> None:
    service.plan({"steps": 8, "end": "completed", "delay": 0.02})
    job = service.add_job()
    with service.open() as client:
        run = client.post("/v1/runs", json={"jobs": [job]}).json()["run"]
        events = _events(client.get(f"/v1/runs/{run}/events").text)
        assert events[0]["type"] == "state"
        assert events[0]["data"]["run"] == run
        assert "step" in {event["type"] for event in events}
        assert (events[-1]["type"], events[-1]["data"]["state"]) == ("state", "completed")
        sequence = [int(event["id"].split("-")[1]) for event in events[1:]]
        assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))
        headers = {"Last-Event-ID": events[1]["id"]}
        assert _events(client.get(f"/v1/runs/{run}/events", headers=headers).text) == events[2:]
        ended(client, run)
    with service.open() as client:
        (reset,) = _events(client.get(f"/v1/runs/{run}/events", headers=headers).text)
        assert (reset["type"], reset["data"]["state"]) == ("reset", "completed")
