"""The Celery app: the one place for every queue setting, each with the failure that it answers."""

from __future__ import annotations

from collections.abc import Mapping

from celery import Celery
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from synfarm.contracts.renders import CAPTION_TASK, RENDER_TASK, Stage, UnitTask
from synfarm.queue.keys import Keys
from synfarm.queue.order import QueueOrder
from synfarm.queue.trust import tls_options
from synfarm.settings import RedisSettings

__all__ = ["connect", "make_app", "send_task"]

_TASK_NAMES = {Stage.CAPTION: CAPTION_TASK, Stage.RENDER: RENDER_TASK}


def connect(settings: RedisSettings) -> Redis:
    """The client for leases and live state, apart from the broker's connections. Answers are text.

    Short time-outs and one second of retries: a worker whose Redis is away goes on rendering and commits, so nothing
    may block on it for long.

    Raises:
        RedisRefused: the settings of TLS cannot be used.
    """
    return Redis.from_url(
        settings.url.get_secret_value(),
        decode_responses=True,
        socket_timeout=10,
        socket_connect_timeout=5,
        socket_keepalive=True,
        health_check_interval=25,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        **tls_options(settings),
    )


def make_app(settings: RedisSettings, name: str = "synfarm", *, order: QueueOrder | None = None) -> Celery:
    """A configured app without tasks; it connects when it is first used.

    Args:
        order: of a worker that serves several capabilities; else the queues are asked as they are named.
    """
    app = Celery(name, broker=settings.url.get_secret_value(), backend=None, set_as_current=False)
    app.conf.update(
        # Without options kombu takes any certificate for rediss://.
        broker_use_ssl=tls_options(settings) or False,
        # A message is data. Pickle in a queue is remote code execution for whoever reaches Redis.
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        # Results without a reader fill Redis (celery#7801): a unit's result is its commit object.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        result_backend=None,
        # Early ack: late acks are redelivered after the whole visibility timeout (an hour), and a second copy starts
        # when a unit takes longer than that (celery#5935). The lease and the feeder redeliver within seconds.
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        # A reserved message is invisible: it dies with its worker, and its queue looks empty to the feeder and to the
        # autoscaler while work waits. Take a message only when a slot is free.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # A worker that reconnects may stop consuming for ever (celery#8030, #10205). Die, and be restarted.
        broker_connection_retry=False,
        # At start Redis may be a few seconds late; after that the supervisor's restart is the retry.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=5,
        broker_connection_timeout=5,
        # Publishing does not wait for a lost broker: the feeder sends again what was not sent.
        task_publish_retry=False,
        # No pub/sub link at all: a proxy reaps it when idle, and with it the worker (celery#10325).
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        task_send_sent_event=False,
        # Queues are named by lane and capability when they are needed; nobody declares them beforehand.
        task_create_missing_queues=True,
        task_default_queue="unrouted",
        # Our own logging stays.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_transport_options={
            # Two farms on one server must not take each other's messages.
            "global_keyprefix": Keys(settings.namespace).queue_prefix,
            # kombu's default is round robin: the low lane would be served as often as the high one.
            "queue_order_strategy": "priority" if order is None else order.cycle,
            # Lanes are queues of their own; ten Redis lists a queue would only lengthen every BRPOP.
            "priority_steps": [0],
            # Concerns only messages taken and not yet acked (milliseconds, see early ack). Long, because the feeder
            # repairs earlier, and a copy that turns up later is dropped as superseded.
            "visibility_timeout": 3600,
            # A half-open TCP link is noticed while idle.
            "health_check_interval": 25,
            "socket_keepalive": True,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
        },
    )
    return app


def send_task(app: Celery, task: UnitTask, headers: Mapping[str, str] | None = None) -> None:
    """Put one hint into its queue. Use :class:`synfarm.queue.dispatch.Dispatcher`, which also records the send.

    Raises:
        kombu.exceptions.OperationalError: the broker is away; nothing was sent (or one message was, which is harmless).
    """
    app.send_task(
        _TASK_NAMES[task.stage],
        args=(task.model_dump(mode="json"),),
        headers=dict(headers or {}),
        queue=task.queue,
        # No declaration: the message goes straight to the list of the queue's name, so a flush takes no binding away.
        declare=[],
        ignore_result=True,
        retry=False,
    )
