"""Local Redis and S3: what they acknowledged survives a kill, two stacks are strangers, none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis as redis_client

from synfarm.local.servers import LocalRedis, LocalS3, LocalServer, ServerFailed
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore, StoreUnavailable

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


@pytest.fixture
def redis_alone(tmp_path: Path) -> Iterator[LocalRedis]:
    """Free to be killed."""
    running = LocalRedis.start(tmp_path / "redis")
    yield running
    running.server.kill()


@pytest.fixture
def s3_alone(tmp_path: Path) -> Iterator[LocalS3]:
    """Free to be killed."""
    running = LocalS3.start(tmp_path / "s3")
    yield running
    running.server.kill()


def _content(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list("")}


def test_s3_killed_and_started_again_has_all_it_acknowledged(s3_alone: LocalS3) -> None:
    store = open_store(s3_alone.settings("p"))
    written = {f"a/{number}": os.urandom(1 + number * 7000) for number in range(12)}
    for _ in range(2):
        for key, data in written.items():
            store.put(key, data)
        assert store.create("commit", b"mine")
        first = s3_alone.server.pid
        os.kill(first or 0, signal.SIGKILL)
        s3_alone.server.restart()
        assert s3_alone.server.pid not in {None, first}
        # The same client: its connections died with the server, its requests are sent again.
        assert _content(store) == written | {"commit": b"mine"}
        assert not store.create("commit", b"theirs")
        written["a/more"] = b"after the restart"


def test_s3_away_is_an_environment_fault_and_back_is_back(s3_alone: LocalS3) -> None:
    store = open_store(s3_alone.settings("p").model_copy(update={"retries": 1}))
    store.put("k", b"x")
    s3_alone.server.kill()
    for call in (lambda: store.get("k"), lambda: store.put("k", b"y"), lambda: store.create("c", b"y")):
        with pytest.raises(StoreUnavailable):
            call()
    s3_alone.server.restart()
    assert _content(store) == {"k": b"x"}


def test_redis_killed_and_started_again_has_all_but_the_last_second(redis_alone: LocalRedis) -> None:
    with redis_client.Redis.from_url(redis_alone.url()) as client:
        client.rpush("queue", *range(50))
        # `appendfsync everysec` hands each write to the kernel at once; that survives the death of the process.
        assert client.ping()
    os.kill(redis_alone.server.pid or 0, signal.SIGKILL)
    redis_alone.server.restart()
    with redis_client.Redis.from_url(redis_alone.url()) as client:
        assert client.llen("queue") == 50


def test_two_of_each_side_by_side(redis_alone: LocalRedis, s3_alone: LocalS3, tmp_path: Path) -> None:
    with ExitStack() as stack:
        other_redis = LocalRedis.start(tmp_path / "other" / "redis")
        stack.callback(other_redis.server.kill)
        other_s3 = LocalS3.start(tmp_path / "other" / "s3")
        stack.callback(other_s3.server.kill)
        mine, theirs = open_store(s3_alone.settings()), open_store(other_s3.settings())
        mine.put("k", b"mine")
        theirs.put("k", b"theirs")
        theirs.put("only/theirs", b"")
        ours = stack.enter_context(redis_client.Redis.from_url(redis_alone.url()))
        strangers = stack.enter_context(redis_client.Redis.from_url(other_redis.url()))
        ours.set("k", "mine")
        strangers.set("k", "theirs")
        with pytest.raises(redis_client.AuthenticationError):
            redis_client.Redis(port=redis_alone.port, password=other_redis.password).ping()

        other_redis.server.kill()
        other_s3.server.kill()
        assert ours.get("k") == b"mine"
        assert _content(mine) == {"k": b"mine"}
        other_s3.server.restart()
        assert _content(theirs) == {"k": b"theirs", "only/theirs": b""}
        assert _content(mine) == {"k": b"mine"}


_PARENT = """
import sys, time
from pathlib import Path
from synfarm.local.servers import LocalRedis, LocalS3
redis, s3 = LocalRedis.start(Path(sys.argv[1], "redis")), LocalS3.start(Path(sys.argv[1], "s3"))
print(redis.server.pid, s3.server.pid, flush=True)
time.sleep(600)
"""


def _is_alive(pid: int) -> bool:
    """A zombie, which nobody may be there to reap, is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def test_servers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        try:
            assert len(pids) == 2
            assert all(map(_is_alive, pids))
            parent.kill()
            parent.wait()
            deadline = time.monotonic() + 60
            while any(map(_is_alive, pids)) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not any(map(_is_alive, pids))
        finally:
            parent.kill()
            for pid in filter(_is_alive, pids):
                os.kill(pid, signal.SIGKILL)


def test_secrets_are_in_no_command_line_and_no_open_file(redis_alone: LocalRedis, s3_alone: LocalS3) -> None:
    for server, secrets in (
        (redis_alone.server, [redis_alone.password]),
        (s3_alone.server, [s3_alone.secret_key]),
    ):
        line = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert not [secret for secret in secrets if secret in line]
        assert not [secret for secret in secrets if secret in server.log.read_text(errors="replace")]
    assert (redis_alone.server.log.parent / "redis.conf").stat().st_mode & 0o777 == 0o600
    assert redis_alone.password not in repr(redis_alone)
    assert s3_alone.secret_key not in repr(s3_alone)


def test_a_server_that_ends_at_once_says_where_its_log_is(redis_alone: LocalRedis, tmp_path: Path) -> None:
    second = LocalServer(redis_alone.server.spec, tmp_path / "second.log")
    second.start()
    # The living server on the same port would answer the probe for it until it has ended.
    while second.pid is not None:
        time.sleep(0.05)
    with pytest.raises(ServerFailed, match=r"second\.log") as told:
        second.wait_ready()
    assert redis_alone.password not in str(told.value)
    assert redis_alone.server.pid is not None
