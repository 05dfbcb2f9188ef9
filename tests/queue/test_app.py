"""The queue settings that must hold, as Celery and kombu see them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import Redis

from synfarm.contracts.jobs import Lane
from synfarm.contracts.renders import UnitTask, render_queue
from synfarm.queue.app import make_app, send_task
from synfarm.queue.keys import Keys
from synfarm.settings import RedisSettings

pytestmark = pytest.mark.integration


def test_a_message_is_json_under_the_namespace_and_survives_a_lost_binding(
    redis: Redis, keys: Keys, redis_settings: RedisSettings, sent_task: Callable[..., UnitTask]
) -> None:
    app = make_app(redis_settings)
    for _ in range(2):
        task = sent_task()
        send_task(app, task)
        assert redis.llen(keys.queue(task.queue)) == 1
        raw = str(redis.rpop(keys.queue(task.queue)))
        assert '"content-type": "application/json"' in raw
        assert all(str(key).startswith("test:") for key in redis.keys("*"))
        redis.flushall()  # a producer that believes in its declared binding would now send into nowhere
    app.close()


def test_lanes_are_served_in_order(
    redis: Redis, redis_settings: RedisSettings, sent_task: Callable[..., UnitTask]
) -> None:
    app = make_app(redis_settings)
    queues = [render_queue("collage-s", lane) for lane in Lane]
    for unit in range(6):
        for queue in reversed(queues):
            send_task(app, sent_task(unit, queue=queue))
    got: list[str] = []

    def take(body: object, message: object) -> None:
        got.append(message.delivery_info["routing_key"])  # type: ignore[attr-defined]
        message.ack()  # type: ignore[attr-defined]

    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(
            connection.default_channel, queues=[app.amqp.queues[q] for q in queues], callbacks=[take]
        )
        consumer.qos(prefetch_count=1)
        with consumer:
            while len(got) < 18:
                connection.drain_events(timeout=10)
    assert got == [queue for queue in queues for _ in range(6)]
    app.close()


def test_only_json_is_accepted_and_nothing_reconnects_or_prefetches(redis_settings: RedisSettings) -> None:
    conf = make_app(redis_settings).conf
    assert list(conf.accept_content) == ["json"]
    assert (conf.task_acks_late, conf.result_backend, conf.task_ignore_result) == (False, None, True)
    assert (conf.worker_prefetch_multiplier, conf.worker_disable_prefetch) == (1, True)
    assert (conf.broker_connection_retry, conf.worker_enable_remote_control) == (False, False)
