"""Which queue a worker takes from: lanes, then the capability whose model it holds, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import Redis

from synfarm.contracts.jobs import Lane
from synfarm.contracts.renders import UnitTask, render_queue
from synfarm.queue.app import make_app, send_task
from synfarm.queue.clock import ManualClock
from synfarm.queue.keys import Keys
from synfarm.queue.order import QueueOrder
from synfarm.queue.waiting import WaitingUnits
from synfarm.settings import RedisSettings

QUEUES = [render_queue(capability, lane) for lane in Lane for capability in ("a-s", "b-s", "c-s")]


def normal(order: QueueOrder) -> str:
    """Capabilities of the normal lane, in order."""
    names = [queue.split(".") for queue in order.arranged(QUEUES)]
    assert [lane for _, _, lane in names] == [lane.value for lane in Lane for _ in range(3)], "lanes come first"
    return "".join(capability[0] for _, capability, lane in names if lane == "normal")


def test_the_loaded_capability_comes_first_in_each_lane_and_after_a_while_last() -> None:
    clock = ManualClock()
    order = QueueOrder(patience=60, clock=clock.now)
    assert normal(order) == "abc"
    order.loaded("b-s")
    assert normal(order) == "bac"
    clock.advance(59)
    order.loaded("b-s")  # every unit says so; the preference is as old as the model
    order.taken("render.b-s.normal")
    assert normal(order) == "bac"
    clock.advance(1)
    assert normal(order) == "acb", "the others have waited for long enough"
    order.taken("render.a-s.normal")
    order.loaded("a-s")
    assert normal(order) == "abc"
    clock.advance(59)
    assert normal(order) == "abc"


def test_when_the_others_have_nothing_the_preference_begins_anew() -> None:
    clock = ManualClock()
    order = QueueOrder(patience=60, clock=clock.now)
    order.loaded("c-s")
    clock.advance(61)
    assert normal(order) == "abc"
    order.taken("render.c-s.low")
    assert normal(order) == "cab"


@pytest.mark.integration
def test_kombu_takes_in_that_order_and_a_look_ahead_sees_it(
    redis: Redis, keys: Keys, redis_settings: RedisSettings, sent_task: Callable[..., UnitTask]
) -> None:
    order = QueueOrder()
    app = make_app(redis_settings, order=order)
    queues = [render_queue(c, lane) for lane in (Lane.HIGH, Lane.NORMAL) for c in ("a-s", "b-s")]
    for unit in range(2):
        for queue in queues:
            send_task(app, sent_task(unit, queue=queue))
    redis.rpush(keys.queue(queues[0]), "no message")
    waiting = WaitingUnits(redis, keys, queues, order.arranged)
    order.loaded("b-s")
    wanted = [(queue, unit) for queue in (queues[1], queues[0], queues[3], queues[2]) for unit in range(2)]
    assert [(task.queue, task.unit) for task in waiting.next(8)] == wanted, "what is no message is passed over"
    assert [(task.queue, task.unit) for task in waiting.next(3)] == wanted[:3]
    redis.rpop(keys.queue(queues[0]))
    got: list[tuple[str, int]] = []

    def take(body: list[list[dict[str, int]]], message: object) -> None:
        got.append((message.delivery_info["routing_key"], body[0][0]["unit"]))  # type: ignore[attr-defined]
        message.ack()  # type: ignore[attr-defined]

    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(
            connection.default_channel, queues=[app.amqp.queues[q] for q in queues], callbacks=[take]
        )
        consumer.qos(prefetch_count=1)
        with consumer:
            while len(got) < 8:
                connection.drain_events(timeout=10)
    assert got == wanted
    assert waiting.next(3) == []
    app.close()
