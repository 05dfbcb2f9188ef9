"""Render workers of two versions on one real Redis and one real store, as in the middle of an upgrade."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord, write_jsonl
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec, RenderSettings
from synfarm.contracts.manifests import Counts
from synfarm.contracts.renders import Stage
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.keys import Keys
from synfarm.queue.presence import live_workers
from synfarm.settings import RedisSettings, StoreSettings
from synfarm.storage.protocol import ObjectStore

pytestmark = pytest.mark.integration
SCRIPT = Path(__file__).with_name("fake_worker.py")


def submit(store: ObjectStore, version: int) -> JobSpec:
    """A job of two units whose captions are written, of a contract."""
    spec = JobSpec(
        job=str(ULID()).lower(),
        owner="me",
        created_at=utc_now(),
        concepts=(Concept(name="dog"),),
        captions=4,
        captions_per_unit=2,
        render=RenderSettings(size=32),
    ).model_copy(update={"schema_version": version})
    store.create(layout.job(spec.job), json.dumps(spec.model_dump(mode="json")).encode())
    store.create(layout.active(spec.job), b"{}")
    for unit in range(spec.units):
        lines = [
            CaptionRecord(
                caption_id=caption_id(spec.job, i),
                index=i,
                concept="dog",
                text="two brown dogs",
                draws=1,
                llm_seed=0,
                llm_model="m",
            )
            for i in spec.unit_range(unit)
        ]
        store.create(layout.captions(spec.job, unit), write_jsonl(lines))
    return spec


@contextmanager
def worker(redis_url: str, store: StoreSettings, log: Path, *version: str) -> Iterator[None]:
    env = os.environ | {
        "SYNFARM_REDIS_URL": redis_url,
        "SYNFARM_STORE_ENDPOINT": store.endpoint,
        "SYNFARM_STORE_ACCESS_KEY": store.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": store.secret_key.get_secret_value(),
        "SYNFARM_STORE_BUCKET": store.bucket,
        "SYNFARM_STORE_PREFIX": store.prefix,
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as out:
        child = subprocess.Popen([sys.executable, str(SCRIPT), *version], env=env, stderr=out)
        try:
            yield
        finally:
            child.kill()
            child.wait()


def until(seen: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def test_an_older_worker_leaves_a_newer_job_to_a_newer_worker(
    redis_url: str, store: ObjectStore, store_settings: StoreSettings, tmp_path: Path
) -> None:
    settings = RedisSettings(url=SecretStr(redis_url))
    redis, app, keys = connect(settings), make_app(settings), Keys(settings.namespace)
    board = Board(redis, keys, RedisClock(redis))
    dispatch = Dispatcher(app, board)
    old, new, strayed = submit(store, 1), submit(store, 2), submit(store, 2)
    for spec in (old, new, strayed):
        board.seed(
            spec.job, board.ensure_epoch(), watermark=0, frontier=spec.units, counts=Counts(), draws=0, rejections={}
        )
    # What a sender without the rule about queues would do: the newer job comes to a queue of older workers.
    dispatch.send(strayed.model_copy(update={"schema_version": 1}), 0, Stage.RENDER)
    for spec in (new, old):
        for unit in range(2):
            dispatch.send(spec, unit, Stage.RENDER)

    def committed(spec: JobSpec) -> int:
        return sum(1 for _ in store.list(layout.commits_prefix(spec.job)))

    try:
        with worker(redis_url, store_settings, tmp_path / "old"):
            until(lambda: committed(old) == 2)
            assert committed(new) == 0
            assert board.flight.queue_length("render.collage-s.v2.normal") == 2, "it waits where no older worker looks"
            until(lambda: board.flight.claims(strayed.job) == {})
            assert_left_alone(board, redis, keys, store, strayed)
            assert [worker.reads for worker in live_workers(redis, keys)] == [(1,)]
        log = (tmp_path / "old").read_text()
        assert "a render worker does not read this: JobSpec: contract 2; upgrade the render workers" in log
        assert "Traceback" not in log
        with worker(redis_url, store_settings, tmp_path / "new", "newer"):
            until(lambda: committed(new) == 2)
            dispatch.send(strayed, 0, Stage.RENDER)
            until(lambda: committed(strayed) == 1)
            until(lambda: board.counters(strayed.job).stalled is None)
            assert (1, 2) in [worker.reads for worker in live_workers(redis, keys)]
        assert "Traceback" not in (tmp_path / "new").read_text()
    finally:
        app.close()
        redis.close()


def assert_left_alone(board: Board, redis: Redis, keys: Keys, store: ObjectStore, spec: JobSpec) -> None:
    assert board.counters(spec.job).stalled == (
        "render: a render worker does not read this: JobSpec: contract 2; upgrade the render workers"
    )
    assert board.flight.sent(spec.job) == {}
    assert board.flight.leases(spec.job, [0]) == {}
    assert redis.hgetall(keys.faults(spec.job)) == {}
    assert not list(store.list(layout.failures_prefix(spec.job)))
