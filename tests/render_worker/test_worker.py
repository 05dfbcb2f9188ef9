"""The render worker as a process, on a real Redis and a real object store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, write_jsonl
from synfarm.contracts.commits import Commit
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec, RenderSettings
from synfarm.contracts.manifests import Counts
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.faults import Faults
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease
from synfarm.settings import RedisSettings, StoreSettings
from synfarm.storage.protocol import ObjectStore
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.drawing import UnitDrawer
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.rendering import UnitRenderer
from synfarm_render_worker.worker import worker_queues

pytestmark = pytest.mark.integration


@pytest.fixture
def spec(store: ObjectStore) -> JobSpec:
    """A submitted job of three units whose captions are written."""
    spec = JobSpec(
        job=str(ULID()).lower(),
        owner="me",
        created_at=datetime.now(UTC),
        concepts=(Concept(name="dog"),),
        captions=6,
        captions_per_unit=2,
        render=RenderSettings(size=64),
    )
    store.create(layout.job(spec.job), spec.to_bytes())
    store.create(layout.active(spec.job), b"{}")
    for unit in range(spec.units):
        lines = [
            CaptionRecord(
                caption_id=caption_id(spec.job, i),
                index=i,
                concept="dog",
                text=f"{'two' if i % 2 else 'three'} brown dogs",
                draws=1,
                llm_seed=0,
                llm_model="m",
            )
            for i in spec.unit_range(unit)
        ]
        store.create(layout.captions(spec.job, unit), write_jsonl(lines))
    return spec


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def worker(redis_url: str, store: StoreSettings, log: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    env = os.environ | {
        "SYNFARM_REDIS_URL": redis_url,
        "SYNFARM_STORE_ENDPOINT": store.endpoint,
        "SYNFARM_STORE_ACCESS_KEY": store.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": store.secret_key.get_secret_value(),
        "SYNFARM_STORE_BUCKET": store.bucket,
        "SYNFARM_STORE_PREFIX": store.prefix,
        "OMP_NUM_THREADS": "1",
        **more,
    }
    with log.open("wb") as out:
        child = subprocess.Popen([sys.executable, "-m", "synfarm_render_worker"], env=env, stderr=out)
        try:
            yield child
        finally:
            child.kill()
            child.wait()


def until(seen: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def send(redis_url: str, spec: JobSpec, units: range) -> Board:
    settings = RedisSettings(url=SecretStr(redis_url))
    redis = connect(settings)
    board = Board(redis, Keys(settings.namespace), RedisClock(redis))
    app = make_app(settings)
    # As the feeder does when it meets the job: marks count from here on.
    board.seed(
        spec.job, board.ensure_epoch(), watermark=0, frontier=spec.units, counts=Counts(), draws=0, rejections={}
    )
    for unit in units:
        Dispatcher(app, board).send(spec, unit, Stage.RENDER)
    app.close()
    return board


def commits(store: ObjectStore, spec: JobSpec) -> list[Commit]:
    return [Commit.from_bytes(store.get(info.key)) for info in store.list(layout.commits_prefix(spec.job))]


def test_takes_units_commits_them_tells_its_health_and_stops(
    redis_url: str, store: ObjectStore, store_settings: StoreSettings, spec: JobSpec, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    board = send(redis_url, spec, range(spec.units))
    with worker(redis_url, store_settings, log, SYNFARM_RENDER_PORT=str(port)) as child:
        until(lambda: len(commits(store, spec)) == 3)
        until(lambda: board.counters(spec.job).counts.units_committed == 3)
        for commit in commits(store, spec):
            assert commit.shard is not None
            assert commit.images == 8
            found = store.head(commit.shard.key)
            assert found is not None
            assert found.size == commit.shard.size
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").json()["status"] == "ok"
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").json() == {"status": "ready", "missing": {}, "model": None}
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert "synfarm_render_images_total 24.0" in metrics
        assert 'synfarm_render_units_total{outcome="done"} 3.0' in metrics
        assert "synfarm_render_model_loads_total 0.0" in metrics, "a collage has no model"
        assert "synfarm_render_finishing_units 0.0" in metrics
        read = [line.rpartition(" ")[2] for line in metrics.splitlines() if "captions_read_total{" in line]
        assert sum(map(float, read)) == 3
        wanted, busy = (
            float(line.rpartition(" ")[2])
            for name in ("wanted", "busy")
            for line in metrics.splitlines()
            if line.startswith(f"synfarm_render_device_{name}_seconds_total ")
        )
        assert 0 < busy <= wanted
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    assert "Traceback" not in log.read_text()


def test_a_unit_that_hangs_while_finishing_is_handed_back_when_the_worker_stops(
    redis_url: str, store: ObjectStore, store_settings: StoreSettings, spec: JobSpec, tmp_path: Path
) -> None:
    board, log, hangs = send(redis_url, spec, range(spec.units)), tmp_path / "log", tmp_path / "hangs"
    settings = {
        "SYNFARM_FAULTS": f"render.before_upload:unit=0:hang:{hangs}",
        "SYNFARM_RENDER_GRACE_SECONDS": "2",
    }
    with worker(redis_url, store_settings, log, **settings) as child:
        until(lambda: hangs.exists() and len(commits(store, spec)) == 2)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0, "a thread that hangs does not hold up the end"
    assert {commit.unit for commit in commits(store, spec)} == {1, 2}, "the others finished beside it"
    assert 0 not in board.flight.sent(spec.job), "the feeder may send it at once"
    assert board.flight.claims(spec.job) == {}
    assert "handed_back_unfinished" in log.read_text()


def test_two_workers_on_the_real_store_give_one_commit_and_one_shard(store: ObjectStore, spec: JobSpec) -> None:
    settings = RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))  # away: a commit needs no Redis
    redis = connect(settings)
    board = Board(redis, Keys("x"), RedisClock(redis))
    meet = threading.Barrier(2)

    class Meeting(Faults):
        def reach(self, point: str, unit: int | None = None) -> None:
            if point == "render.before_commit":
                meet.wait(30)

    def one() -> None:
        drawer = UnitDrawer(threads=1, batch=None, metrics=RenderMetrics())
        unit = UnitRenderer(
            store=store,
            board=board,
            faults=Meeting(),
            renderers=lambda render, step: CollageRenderer(render),
            drawer=drawer,
            metrics=RenderMetrics(),
            worker="w",
        )
        try:
            unit.work(spec, task, Lease(str(ULID()).lower())).run()
        finally:
            drawer.close()

    task = UnitTask(job=spec.job, unit=0, stage=Stage.RENDER, queue="render.collage-s.normal", sequence=0)
    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (commit,) = commits(store, spec)
    assert commit.shard is not None
    assert [info.key for info in store.list(f"jobs/{spec.job}/shards/")] == [commit.shard.key]
    redis.close()


def test_store_away_at_start_is_one_line_and_an_exit_code(
    redis_url: str, store_settings: StoreSettings, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    away = {"SYNFARM_STORE_ENDPOINT": f"127.0.0.1:{free_port()}", "SYNFARM_STORE_RETRIES": "0"}
    with worker(redis_url, store_settings, log, **away) as child:
        assert child.wait(60) == 75, log.read_text()[-3000:]
    assert "correct SYNFARM_STORE_ENDPOINT" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_queues_are_named_by_capability_and_served_by_lane() -> None:
    assert worker_queues(("sd15-m", "collage-s"))[:3] == [
        "render.sd15-m.high",
        "render.collage-s.high",
        "render.sd15-m.normal",
    ]
