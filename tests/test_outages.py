"""Who asks without a key hears which part is away in words of ours; the log has what was said, once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisAway

from synfarm import outages
from synfarm.outages import Outages
from synfarm.queue.health import dependencies_away
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreRefused, StoreUnavailable

SAID = "HTTPConnectionPool(host='10.9.8.7', port=9000) key AKIASECRET"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(event: str, **fields: Any) -> None:
        seen.append((event, fields))

    monkeypatch.setattr(outages, "_log", SimpleNamespace(warning=note, info=note))
    return seen


class Answering:
    """A Redis that raises what it is given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def ping(self) -> bool:
        if self.error is not None:
            raise self.error
        return True


def test_parts_of_a_worker(logged: list[tuple[str, dict[str, Any]]]) -> None:
    store, redis, known = MemoryStore(), Answering(), Outages()
    assert dependencies_away(store, redis, known) == {}  # type: ignore[arg-type]
    assert logged == []
    for error, words in ((StoreUnavailable(SAID), "does not answer"), (StoreRefused(SAID), "refuses this process")):

        def fails(operation: str, key: str, error: Exception = error) -> None:
            raise error

        store.fault = fails
        assert dependencies_away(store, redis, known) == {"object store": words}  # type: ignore[arg-type]
    store.fault = None
    redis.error = RedisAway("Error 111 connecting to 10.9.8.7:6379")
    assert dependencies_away(store, redis, known) == {"redis": "does not answer"}  # type: ignore[arg-type]
    redis.error = AuthenticationError("NOAUTH")
    assert dependencies_away(store, redis, known) == {"redis": "refuses this process"}  # type: ignore[arg-type]


def test_a_change_is_logged_and_asking_again_is_not(logged: list[tuple[str, dict[str, Any]]]) -> None:
    known = Outages()
    for _ in range(3):
        known.away("store", StoreUnavailable(SAID))
    known.well("store")
    known.well("store")
    assert [event for event, _ in logged] == ["part_away", "part_back"]
    assert "10.9.8.7" in logged[0][1]["error"]
