"""A real Redis for the messages that carry a trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from redis import Redis

from synfarm.queue.app import connect
from synfarm.queue.keys import Keys
from synfarm.settings import RedisSettings


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
