"""Ranks of a node that want the same shard at once, over a real store; one of them is killed in mid-fetch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fault_proxy import FaultProxy

from synfarm.local.servers import LocalS3
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm_trainer.data.cache.counts import ReadCounts
from synfarm_trainer.data.cache.disk import DiskCache
from synfarm_trainer.data.fetch import Shard, ShardCache
from synfarm_trainer.data.manifest import Dataset, load_dataset

pytestmark = pytest.mark.integration
RANK = Path(__file__).with_name("one_rank.py")


@pytest.fixture
def proxy(s3_server: LocalS3) -> Iterator[FaultProxy]:
    running = FaultProxy(("127.0.0.1", s3_server.ports.s3))
    yield running
    running.close()


@pytest.fixture
def dataset(store_settings: StoreSettings, write_dataset) -> Dataset:
    store = open_store(store_settings)
    return load_dataset(store, [write_dataset(store)], views=4)


@pytest.fixture
def rank(
    store_settings: StoreSettings, proxy: FaultProxy, dataset: Dataset, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """(bound in bytes, shards) to a process that reads them by way of the proxy."""
    started = []

    def start(bound: int, shards: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "SYNFARM_STORE_ENDPOINT": proxy.endpoint,
            "SYNFARM_STORE_ACCESS_KEY": store_settings.access_key.get_secret_value(),
            "SYNFARM_STORE_SECRET_KEY": store_settings.secret_key.get_secret_value(),
            "SYNFARM_STORE_BUCKET": store_settings.bucket,
            "SYNFARM_STORE_PREFIX": store_settings.prefix,
        }
        command = [sys.executable, str(RANK), str(tmp_path / "shards"), str(bound)]
        child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(child)
        child.stdin.write(b"".join(ref.to_bytes() + b"\n" for ref in dataset.shards[:shards]))
        child.stdin.close()
        child.stdin = None
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def tars(proxy: FaultProxy) -> int:
    return sum(seen.method == "GET" and ".tar" in seen.path for seen in list(proxy.seen))


def test_ranks_that_start_at_once_fetch_each_shard_once(rank, proxy: FaultProxy, dataset: Dataset) -> None:
    proxy.always["GET"] = proxy.late(0.02)
    children = [rank(1 << 30, 8) for _ in range(3)]
    told = [json.loads(child.communicate(timeout=120)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert tars(proxy) == sum(each["requests"] for each in told) == 8
    assert sum(each["bytes"] for each in told) == sum(ref.size for ref in dataset.shards)


def test_ranks_that_drive_each_others_shards_out_still_read_them(rank, dataset: Dataset, tmp_path: Path) -> None:
    bound = 2 * max(ref.size for ref in dataset.shards)
    children = [rank(bound, 8) for _ in range(2)]
    told = [json.loads(child.communicate(timeout=120)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sum(each["disk_damaged"] for each in told) == 0
    assert sum(path.stat().st_size for path in (tmp_path / "shards").glob("??/*.tar")) <= bound


@pytest.mark.chaos
def test_a_rank_killed_in_mid_fetch_hands_the_shard_to_the_one_that_waits(
    rank, proxy: FaultProxy, store_settings: StoreSettings, dataset: Dataset, tmp_path: Path
) -> None:
    held = threading.Event()
    proxy.always["GET"] = proxy.first(held.set, proxy.never)
    child = rank(1 << 30, 1)
    assert held.wait(60), "it has the lock and waits for its bytes"
    cache = ShardCache(open_store(store_settings), 1, disk=DiskCache(tmp_path / "shards", 1 << 30, ReadCounts()))
    looks, pause = threading.Semaphore(0), cache._reads.pause

    def look(seconds: float) -> None:
        looks.release()
        pause(seconds)

    cache._reads.pause = look
    found: list[Shard] = []
    waiting = threading.Thread(target=lambda: found.append(cache.get(dataset.shards[0])))
    waiting.start()
    for _ in range(3):
        assert looks.acquire(timeout=60)
    assert cache.counts.told()["requests"] == 0, "one fetches, the other waits"
    child.kill()
    child.wait()
    waiting.join(60)
    assert found[0].intact
    assert cache.counts.told()["requests"] == 1
    assert cache._disk.holds(dataset.shards[0])
    assert list((tmp_path / "shards" / "new").iterdir()) == []
