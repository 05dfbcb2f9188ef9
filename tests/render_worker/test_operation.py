"""A render worker that hangs, loads, is killed, stopped or told to stop: what it does, and what everybody is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
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
from synfarm.contracts.workers import WorkerInfo
from synfarm.local.ports import HeldPorts
from synfarm.local.servers import LocalRedis
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.keys import Keys
from synfarm.queue.presence import live_workers
from synfarm.queue.watchdog import HUNG
from synfarm.settings import RedisSettings, StoreSettings
from synfarm.storage.protocol import ObjectStore
from synfarm.trust import trust_for

pytestmark = pytest.mark.integration
KEYS = Keys("synfarm")


class Worker:
    """One process and what can be asked of it."""

    def __init__(self, environment: dict[str, str], log: Path, port: int) -> None:
        self.log, self.url = log, f"http://127.0.0.1:{port}"
        self._trust = trust_for(self.url)
        environment = {**os.environ, **environment, "SYNFARM_RENDER_PORT": str(port)}
        with log.open("ab") as out:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "synfarm_render_worker"], env=environment, stdout=out, stderr=out
            )

    def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """(0, {}) before it answers."""
        try:
            answer = httpx.get(self.url + path, timeout=10, verify=self._trust)
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, answer.json()


class Site:
    """One Redis and one store, and the workers of a test."""

    def __init__(self, redis_url: str, store: ObjectStore, settings: StoreSettings, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.redis_settings = RedisSettings(url=SecretStr(redis_url))
        self.redis: Redis = connect(self.redis_settings)
        self.board = Board(self.redis, KEYS, RedisClock(self.redis))
        self.workers: list[Worker] = []
        self._environment = {
            "SYNFARM_REDIS_URL": redis_url,
            "SYNFARM_STORE_ENDPOINT": settings.endpoint,
            "SYNFARM_STORE_ACCESS_KEY": settings.access_key.get_secret_value(),
            "SYNFARM_STORE_SECRET_KEY": settings.secret_key.get_secret_value(),
            "SYNFARM_STORE_BUCKET": settings.bucket,
            "SYNFARM_STORE_PREFIX": settings.prefix,
            "OMP_NUM_THREADS": "1",
        }

    def start(self, port: int, **more: str) -> Worker:
        log = self.folder / f"{len(self.workers)}.log"
        self.workers.append(Worker(self._environment | more, log, port))
        return self.workers[-1]

    def told(self, worker: Worker) -> WorkerInfo | None:
        """As ``GET /v1/workers`` lists it."""
        found = [info for info in live_workers(self.redis, KEYS) if info.pid == worker.child.pid]
        return found[0] if found else None

    def submit(self, units: int = 1, *, captions: int = 2, render: RenderSettings | None = None) -> JobSpec:
        """A job whose captions are written (``captions`` a unit), and its messages."""
        spec = JobSpec(
            job=str(ULID()).lower(),
            owner="me",
            created_at=utc_now(),
            concepts=(Concept(name="dog"),),
            captions=captions * units,
            captions_per_unit=captions,
            render=render or RenderSettings(size=32),
        )
        self.store.create(layout.job(spec.job), spec.to_bytes())
        self.store.create(layout.active(spec.job), b"{}")
        for unit in range(spec.units):
            records = [
                CaptionRecord(
                    caption_id=caption_id(spec.job, index),
                    index=index,
                    concept="dog",
                    text="a brown dog",
                    draws=1,
                    llm_seed=0,
                    llm_model="m",
                )
                for index in spec.unit_range(unit)
            ]
            self.store.create(layout.captions(spec.job, unit), write_jsonl(records))
        epoch = self.board.ensure_epoch()
        self.board.seed(spec.job, epoch, watermark=0, frontier=units, counts=Counts(), draws=0, rejections={})
        app = make_app(self.redis_settings)
        for unit in range(units):
            Dispatcher(app, self.board).send(spec, unit, Stage.RENDER)
        app.close()
        return spec

    def committed(self, spec: JobSpec) -> int:
        return sum(1 for _ in self.store.list(layout.commits_prefix(spec.job)))

    def until(self, seen: Callable[[], object], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not seen():
            logs = "\n".join(worker.log.read_text()[-3000:] for worker in self.workers)
            assert time.monotonic() < end, logs
            time.sleep(0.05)

    def close(self) -> None:
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.child.kill()
            worker.child.wait()
        self.redis.close()


@pytest.fixture
def site(redis_url: str, store: ObjectStore, store_settings: StoreSettings, tmp_path: Path) -> Iterator[Site]:
    made = Site(redis_url, store, store_settings, tmp_path)
    yield made
    made.close()


@pytest.fixture
def port() -> int:
    return HeldPorts(1).numbers[0]


@pytest.mark.parametrize(("action", "code"), [("hang", HUNG), ("hang_all", 1)])
def test_a_worker_that_hangs_ends_itself_and_says_where_it_stood(
    site: Site, port: int, tmp_path: Path, action: str, code: int
) -> None:
    fault = f"render.before_upload:unit=1:{action}:{tmp_path / 'hung'}"
    spec = site.submit(2)
    worker = site.start(port, SYNFARM_FAULTS=fault, SYNFARM_RENDER_STALL_SECONDS="5", SYNFARM_LEASE_TTL_SECONDS="2")
    site.until((tmp_path / "hung").exists)
    if action == "hang":
        site.until(lambda: worker.probe("/healthz")[1].get("units") == [f"{spec.job}/1"])
        site.until(lambda: (info := site.told(worker)) is not None and info.units == (f"{spec.job}/1",))
    assert worker.child.wait(60) == code
    assert site.committed(spec) == 1
    log = worker.log.read_text()
    assert "in reach" in log
    assert "rendering.py" in log
    if action == "hang":
        assert f'"job": "{spec.job}", "unit": 1, "attempt": "' in log
    assert site.board.flight.claims(spec.job).keys() == {1}, "the feeder counts a lost worker by it"
    site.until(lambda: not site.board.flight.leases(spec.job, [1]))


def test_a_worker_that_loads_is_no_worker_that_hangs(site: Site, port: int, tmp_path: Path) -> None:
    """A load takes longer than the stall time and is left alone until its own bound."""
    spec = site.submit()
    worker = site.start(
        port,
        SYNFARM_FAULTS=f"render.load:hang:{tmp_path / 'loading'}",
        SYNFARM_RENDER_STALL_SECONDS="1",
        SYNFARM_RENDER_LOAD_SECONDS="8",
        SYNFARM_LEASE_TTL_SECONDS="2",
    )
    site.until((tmp_path / "loading").exists)
    began = time.monotonic()
    site.until(lambda: (info := site.told(worker)) is not None and info.loading == "collage")
    site.until(lambda: worker.probe("/healthz")[1].get("progress_age_seconds", 0) > 3)
    status, health = worker.probe("/healthz")
    assert (status, health["status"]) == (200, "loading")
    assert site.board.flight.leases(spec.job, [0]), "the lease is renewed while it loads"
    assert worker.child.wait(60) == HUNG
    assert time.monotonic() - began > 6
    assert '"event": "load_hung"' in worker.log.read_text()


def test_every_end_and_every_pause_is_told_within_fifteen_seconds(site: Site, tmp_path: Path) -> None:
    killed, stopped, stopping = (
        site.start(port, SYNFARM_FAULTS=f"render.after_claim:hang:{tmp_path / name}")
        for port, name in zip(HeldPorts(3).numbers, ("a", "b", "c"), strict=True)
    )
    for worker in (killed, stopped, stopping):
        site.until(lambda worker=worker: site.told(worker))
    info = site.told(killed)
    assert info is not None
    assert (info.capabilities, info.units, info.model, info.loading) == (("collage-s", "collage-m"), (), None, None)
    site.submit(3)
    for worker in (killed, stopped, stopping):
        site.until(lambda worker=worker: (info := site.told(worker)) is not None and info.units)
    at = time.monotonic()
    killed.child.kill()
    stopped.child.send_signal(signal.SIGSTOP)
    for worker in (killed, stopped):
        site.until(lambda worker=worker: site.told(worker) is None, 30)
    assert (
        time.monotonic() - at < 15 + 5
    )  # the list itself is bound by the key's time to live; the rest is this machine
    stopped.child.send_signal(signal.SIGCONT)
    site.until(lambda: site.told(stopped))


@pytest.mark.parametrize(("grace", "committed"), [(300, 1), (0.5, 0)])
def test_a_worker_told_to_stop_finishes_what_fits_hands_back_what_does_not_and_goes(
    site: Site, port: int, grace: float, committed: int
) -> None:
    worker = site.start(port, SYNFARM_RENDER_BATCH="1", SYNFARM_RENDER_GRACE_SECONDS=str(grace))
    spec = site.submit(render=RenderSettings(size=512), captions=24)  # some seconds, so that it is seen
    site.until(lambda: (info := site.told(worker)) is not None and info.units)
    worker.child.send_signal(signal.SIGTERM)
    if committed:
        site.until(lambda: (info := site.told(worker)) is not None and info.draining)
    assert worker.child.wait(120) == 0
    assert site.told(worker) is None
    assert site.committed(spec) == committed
    flight = site.board.flight
    assert (len(flight.sent(spec.job)), flight.claims(spec.job), flight.leases(spec.job, [0])) == (committed, {}, {})


def test_a_worker_that_loses_its_broker_commits_its_unit_and_ends_with_75(
    store: ObjectStore, store_settings: StoreSettings, port: int, tmp_path: Path
) -> None:
    server = LocalRedis.start(tmp_path / "redis")
    site = Site(server.url(), store, store_settings, tmp_path)
    try:
        worker = site.start(port, SYNFARM_RENDER_BATCH="1")
        spec = site.submit(render=RenderSettings(size=512), captions=8)
        site.until(lambda: site.board.flight.leases(spec.job, [0]))
        assert site.committed(spec) == 0
        server.server.kill()
        assert worker.child.wait(120) == 75
        assert site.committed(spec) == 1
    finally:
        site.close()
        server.server.kill()


def test_a_model_named_for_loading_is_there_before_the_first_unit(
    site: Site, port: int, models: Path, tmp_path: Path
) -> None:
    """First its folder is missing: not ready, with the reason; then it is there, and the worker goes on by itself."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    render = RenderSettings(renderer="diffusers", model="tiny", revision="abc", family="tiny", size=32, steps=2)
    spec = site.submit(render=render)
    worker = site.start(
        port,
        SYNFARM_RENDER_CAPABILITIES='["tiny-s"]',
        SYNFARM_RENDER_PRELOAD=render.to_bytes().decode(),
        SYNFARM_RENDER_PRELOAD_RETRY_SECONDS="0.5",
        SYNFARM_RENDER_MODELS=str(mounted),
        HF_HUB_OFFLINE="1",
    )
    site.until(lambda: worker.probe("/readyz")[1].get("missing") == {"model": "cannot be loaded"}, 120)
    status, told = worker.probe("/readyz")
    assert (status, told["status"], told["model"]) == (503, "not ready", None)
    assert worker.probe("/healthz")[0] == 200
    site.until(lambda: (info := site.told(worker)) is not None and "'tiny'" in (info.trouble or ""))
    assert site.committed(spec) == 0, "it takes no unit"
    shutil.copytree(models / "sd", mounted / "tiny")
    site.until(lambda: worker.probe("/readyz")[0] == 200, 120)
    assert worker.probe("/readyz")[1] == {"status": "ready", "missing": {}, "model": "tiny@abc"}
    site.until(lambda: (info := site.told(worker)) is not None and (info.model, info.trouble) == ("tiny@abc", None))
    site.until(lambda: site.committed(spec) == 1)
