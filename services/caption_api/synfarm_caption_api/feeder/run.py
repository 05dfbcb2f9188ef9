"""The feeder's loop in one replica: passes while it leads, watching while another does."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from synfarm.queue.board import Board
from synfarm.queue.clock import Clock, RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.events import EventLog
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.storage.protocol import ObjectStore, StoreError
from synfarm.telemetry import get_logger
from synfarm_caption_api.feeder.farm_record import FarmRecord
from synfarm_caption_api.feeder.feeder import Feeder
from synfarm_caption_api.feeder.settings import FeederSettings
from synfarm_caption_api.feeder.webhooks import WebhookSender, WebhookSettings

__all__ = ["FeederPulse", "build_feeder", "run_feeder"]

_log = get_logger(__name__)
_LONGEST_PAUSE = 10.0


class FeederPulse:
    """What ``/healthz`` and ``/metrics`` ask of the feeder's thread."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self.farm = FarmRecord()
        self.leading = False
        self.passes = self.failures = 0
        self.seconds = 0.0
        """In passes that went through."""
        self.failure: str | None = None
        """What the last pass failed at, without any address, for ``/healthz`` needs no key; None if it did not."""

    def tick(self, *, leading: bool, seconds: float = 0.0) -> None:
        """A pass went through and took so long."""
        self._at, self.leading, self.failure = time.monotonic(), leading, None
        self.passes += 1
        self.seconds += seconds

    def fail(self, reason: str) -> None:
        self.failure, self.leading = reason, False
        self.failures += 1
        self.farm.hide()

    @property
    def age_seconds(self) -> float:
        """Since the last pass that went through, leading or not."""
        return time.monotonic() - self._at


def build_feeder(
    *,
    store: ObjectStore,
    redis: Redis,
    keys: Keys,
    app: Celery,
    readers: ThreadPoolExecutor,
    settings: FeederSettings,
    clock: Clock | None = None,
    record: FarmRecord | None = None,
) -> Feeder:
    """A feeder wired to one Redis and one store."""
    clock = clock or RedisClock(redis)
    board = Board(redis, keys, clock)
    return Feeder(
        store=store,
        redis=redis,
        keys=keys,
        clock=clock,
        board=board,
        flags=FlagBook(redis, keys, store),
        dispatch=Dispatcher(app, board),
        events=EventLog(redis, keys),
        readers=readers,
        settings=settings,
        record=record,
    )


def run_feeder(
    *,
    store: ObjectStore,
    redis: Redis,
    keys: Keys,
    app: Celery,
    settings: FeederSettings,
    stop: threading.Event,
    pulse: FeederPulse | None = None,
) -> None:
    """Run passes until ``stop`` is set; start it in a thread of its own. Nothing that is away ends it."""
    pulse = pulse or FeederPulse()
    pause = settings.pass_seconds
    with ThreadPoolExecutor(settings.readers, thread_name_prefix="feeder-read") as readers:
        feeder = build_feeder(
            store=store, redis=redis, keys=keys, app=app, readers=readers, settings=settings, record=pulse.farm
        )
        sender = WebhookSender(store, WebhookSettings())
        while not stop.wait(pause):
            try:
                began = time.monotonic()
                leading = feeder.run_pass()
                pulse.tick(leading=leading, seconds=time.monotonic() - began)
                if leading:
                    sender.tick()
                pause = settings.pass_seconds
            except (RedisError, OperationalError, StoreError) as error:
                pulse.fail("the object store" if isinstance(error, StoreError) else "redis")
                _log.warning("feeder_pass_failed", error=str(error), again_in=pause)
                pause = min(_LONGEST_PAUSE, max(pause * 2, 0.1))
            except Exception:  # noqa: BLE001 - a defect met in one pass must not end all repair
                pulse.fail("a defect")
                _log.exception("feeder_pass_broke", again_in=_LONGEST_PAUSE)
                pause = _LONGEST_PAUSE
        sender.close()
        try:
            feeder.resign()
        except RedisError as error:
            _log.info("lock_left_to_expire", error=str(error))
