"""Real servers for all tests that want them: one Redis and one S3 server a session, fresh names a test."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import structlog
import typer.testing
from hypothesis import HealthCheck, settings

from synfarm.local.servers import LocalRedis, LocalS3
from synfarm.settings import StoreSettings
from synfarm.storage.protocol import ObjectStore

# OpenMP's threads sleep when they wait for each other: they would spin, and there are more of them than cores. Read
# when torch is loaded, also by processes that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

pytest.register_assert_rewrite("tests.chaos.invariants")

# `make test` tries the same examples each time, so that it fails for a change and not by chance; SYNFARM_RANDOM=1 (as
# `make fuzz` sets it) draws new ones. Neither fails because a machine is slow.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("random" if os.environ.get("SYNFARM_RANDOM") else "same")


class _Loggers(dict[str, Any]):
    """The table of loggers, looked through as it was at one moment."""

    def values(self) -> Any:
        return list(super().values())


def pytest_configure() -> None:
    # pytest looks through this table before each phase of a test, without a lock: a logger that a server in a thread of
    # this process makes in that moment would be the test's error.
    logging.root.manager.loggerDict = _Loggers(logging.root.manager.loggerDict)
    # typer's runner makes the whole tree of commands anew for each call, 40 ms; a program makes it once.
    made_once = functools.cache(typer.testing._get_command)
    typer.testing._get_command = made_once
    # A shell starts its background jobs with Ctrl-C ignored, and children inherit that: tests that press it would wait
    # in vain.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    # All that is imported here stays: the collector need not look through it, neither now nor in the tests.
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The long ones first: side by side, none of them is then left alone at the end.
    items.sort(key=lambda item: not any(item.get_closest_marker(mark) for mark in ("slow", "chaos")))


@pytest.fixture(autouse=True)
def _own_log_context() -> None:
    """A process under test that ran in this one may have left its name to every line that follows."""
    structlog.contextvars.clear_contextvars()


class Logged(list[dict[str, Any]]):
    """Stands for a module's logger: keeps its lines, each with its ``event`` and ``level``."""

    def __init__(self, bound: dict[str, Any] | None = None, lines: list[dict[str, Any]] | None = None) -> None:
        super().__init__()
        self._bound, self._lines = bound or {}, self if lines is None else lines

    def bind(self, **more: Any) -> Logged:
        return Logged({**self._bound, **more}, self._lines)

    def __getattr__(self, level: str) -> Callable[..., None]:
        if level not in ("debug", "info", "warning", "error", "exception"):
            raise AttributeError(level)
        return lambda event, **more: self._lines.append({"event": event, "level": level, **self._bound, **more})


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Logged]:
    """``logged(module)`` to the lines that it logs from here on, however this process logs otherwise."""

    def caught(module: Any) -> Logged:
        lines = Logged()
        monkeypatch.setattr(module, "_log", lines)
        return lines

    return caught


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """A running Redis, shared by the session: do not kill it (start your own `LocalRedis` for that)."""
    running = LocalRedis.start(tmp_path_factory.mktemp("redis"))
    yield running
    running.server.kill()


@pytest.fixture
def redis_url(redis_server: LocalRedis) -> str:
    """URL of an empty database."""
    import redis

    url = redis_server.url(database=0)
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalS3]:
    """A running S3 server, shared by the session: do not kill it (start your own `LocalS3` for that)."""
    running = LocalS3.start(tmp_path_factory.mktemp("s3"))
    yield running
    running.server.kill()


@pytest.fixture
def store_settings(s3_server: LocalS3) -> StoreSettings:
    """The shared S3 server below a root prefix that no other test has."""
    return s3_server.settings(f"test/{uuid.uuid4().hex}")


@pytest.fixture
def store(store_settings: StoreSettings) -> ObjectStore:
    """A real, empty store."""
    from synfarm.storage.minio_store import open_store

    return open_store(store_settings)
