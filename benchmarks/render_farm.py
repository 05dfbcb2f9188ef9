"""What the render benchmarks stand on: a local Redis and S3 server, jobs whose captions are written, one worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import SecretStr
from redis import Redis
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord, write_jsonl
from synfarm.contracts.commits import Commit
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec, RenderSettings
from synfarm.contracts.manifests import Counts
from synfarm.contracts.renders import Stage
from synfarm.local.ports import HeldPorts
from synfarm.local.servers import LocalRedis, LocalS3
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.keys import Keys
from synfarm.settings import RedisSettings, StoreSettings
from synfarm.storage.minio_store import MinioStore, open_store

__all__ = ["RenderFarm", "WorkerChild"]

WORDS = ("dog", "cat", "apple", "car", "tree", "boat", "chair", "bird")


@dataclass(frozen=True, slots=True)
class WorkerChild:
    """A worker process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def metrics(self) -> dict[str, float]:
        """``/metrics``, by name with labels."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=30).text
        pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def cpu_seconds(self) -> float:
        """Processor time of all its threads."""
        spent = psutil.Process(self.process.pid).cpu_times()
        return float(spent.user + spent.system)

    def memory_mb(self) -> float:
        """Resident, now."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def check_well(self) -> None:
        """Nobody sends a unit again here: one that was not done would be waited for in vain.

        Raises:
            RuntimeError: the worker ended, or let a unit go undone.
        """
        undone = {"fault", "dead", "environment", "handed_back", "lost"}
        names = {f'units_total{{outcome="{how}"}}' for how in undone}
        lost = [name for name, count in self.metrics().items() if count and any(part in name for part in names)]
        if lost:
            raise RuntimeError(f"{lost}:\n{self.log.read_text()[-3000:]}")

    def check_alive(self) -> None:
        """
        Raises:
            RuntimeError: the worker ended.
        """
        if self.process.poll() is not None:
            raise RuntimeError(f"the worker ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")


class RenderFarm:
    """A real broker and a real store below one folder, without API and feeder: units are sent once, at the start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis_server, self.s3_server = LocalRedis.start(folder / "redis"), LocalS3.start(folder / "s3")
        self.redis_settings = RedisSettings(url=SecretStr(self.redis_server.url()))
        self.redis: Redis = connect(self.redis_settings)
        self.store_settings: StoreSettings = self.s3_server.settings("bench")
        self.store: MinioStore = open_store(self.store_settings)
        self.keys = Keys(self.redis_settings.namespace)
        self.board = Board(self.redis, self.keys, RedisClock(self.redis))
        self.app = make_app(self.redis_settings)
        self._held = HeldPorts(1)

    def close(self) -> None:
        self.app.close()
        self.redis.close()
        self.redis_server.server.kill()
        self.s3_server.server.kill()

    @property
    def environment(self) -> dict[str, str]:
        store = self.store_settings
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "SYNFARM_REDIS_URL": self.redis_settings.url.get_secret_value(),
            "SYNFARM_STORE_ENDPOINT": store.endpoint,
            "SYNFARM_STORE_ACCESS_KEY": store.access_key.get_secret_value(),
            "SYNFARM_STORE_SECRET_KEY": store.secret_key.get_secret_value(),
            "SYNFARM_STORE_PREFIX": store.prefix,
            "SYNFARM_LOG_FORMAT": "json",
        }

    def job(
        self, *, units: int, captions_per_unit: int, images_per_caption: int, render: RenderSettings, **more: Any
    ) -> JobSpec:
        """A submitted job with all its captions written."""
        spec = JobSpec(
            job=str(ULID()).lower(),
            owner="bench",
            created_at=utc_now(),
            concepts=tuple(Concept(name=word) for word in WORDS),
            captions=units * captions_per_unit,
            captions_per_unit=captions_per_unit,
            images_per_caption=images_per_caption,
            render=render,
            **more,
        )
        self.store.create(layout.job(spec.job), spec.to_bytes())
        self.store.create(layout.active(spec.job), b"{}")
        for unit in range(spec.units):
            self.store.create(layout.captions(spec.job, unit), write_jsonl(_records(spec, unit)))
        self.board.seed(
            spec.job, self.board.ensure_epoch(), watermark=0, frontier=spec.units, counts=Counts(), draws=0,
            rejections={},
        )  # fmt: skip
        return spec

    def send(self, spec: JobSpec, units: Sequence[int] | None = None) -> None:
        dispatcher = Dispatcher(self.app, self.board)
        for unit in range(spec.units) if units is None else units:
            dispatcher.send(spec, unit, Stage.RENDER)

    def committed(self, spec: JobSpec) -> int:
        return self.board.counters(spec.job).counts.units_committed

    def wait(self, spec: JobSpec, units: int, child: WorkerChild, *, seconds: float = 1800) -> None:
        """Until so many units are committed."""
        began, looked = time.monotonic(), time.monotonic()
        while self.committed(spec) < units:
            child.check_alive()
            now = time.monotonic()
            if now - looked > 5:
                child.check_well()
                looked = now
            if now - began > seconds:
                raise TimeoutError(f"{self.committed(spec)} of {units} units after {seconds:.0f} s")
            time.sleep(0.1)

    def commits(self, spec: JobSpec) -> list[Commit]:
        """In order of time."""
        found = [
            Commit.from_bytes(self.store.get(info.key)) for info in self.store.list(layout.commits_prefix(spec.job))
        ]
        return sorted(found, key=lambda commit: commit.committed_at)

    @contextmanager
    def worker(self, command: Sequence[str], *, cwd: Path | None = None, **settings: str) -> Iterator[WorkerChild]:
        """A worker process that answers; it is killed at the end."""
        (port,) = self._held.numbers
        log = self.folder / "worker.log"
        env = {**self.environment, "SYNFARM_RENDER_PORT": str(port), **settings}
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, *command], env=env, cwd=cwd, stdout=out, stderr=out)
            child = WorkerChild(process, port, log)
            try:
                self._wait_ready(child)
                yield child
            finally:
                process.kill()
                process.wait()

    @staticmethod
    def _wait_ready(child: WorkerChild) -> None:
        end = time.monotonic() + 120
        while True:
            child.check_alive()
            try:
                if httpx.get(f"http://127.0.0.1:{child.port}/healthz", timeout=5).is_success:
                    return
            except httpx.HTTPError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)


def _records(spec: JobSpec, unit: int) -> list[CaptionRecord]:
    return [
        CaptionRecord(
            caption_id=caption_id(spec.job, index),
            index=index,
            concept=WORDS[index % len(WORDS)],
            text=f"a {WORDS[index % len(WORDS)]} in the morning light, seen from afar",
            draws=1,
            llm_seed=0,
            llm_model="none",
        )
        for index in spec.unit_range(unit)
    ]
