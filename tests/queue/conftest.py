"""Live state on a real Redis, without a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr
from redis import Redis

from synfarm.contracts.renders import Stage, UnitTask
from synfarm.queue.app import connect
from synfarm.queue.board import Board
from synfarm.queue.clock import ManualClock
from synfarm.queue.keys import Keys
from synfarm.settings import RedisSettings

JOB = "01jd0000000000000000000000"


@pytest.fixture
def redis_settings(redis_url: str) -> RedisSettings:
    return RedisSettings(url=SecretStr(redis_url), namespace="test")


@pytest.fixture
def redis(redis_settings: RedisSettings) -> Iterator[Redis]:
    client = connect(redis_settings)
    yield client
    client.close()


@pytest.fixture
def keys() -> Keys:
    return Keys("test")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def board(redis: Redis, keys: Keys, clock: ManualClock) -> Board:
    return Board(redis, keys, clock)


@pytest.fixture
def sent_task(board: Board) -> Callable[..., UnitTask]:
    """Records a send and returns its message."""

    def send(unit: int = 0, stage: Stage = Stage.RENDER, queue: str = "render.collage-s.normal") -> UnitTask:
        sequence = board.record_send(JOB, unit, stage, queue)
        return UnitTask(job=JOB, unit=unit, stage=stage, queue=queue, sequence=sequence)

    return send
