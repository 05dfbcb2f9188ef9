"""A worker process over a real Redis: it announces itself, does its work, tells its health, and leaves nothing."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis import Redis

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.renders import RENDER_TASK, UnitTask
from synfarm.faults import Faults
from synfarm.queue import process
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease
from synfarm.queue.presence import live_workers
from synfarm.queue.process import WorkerProcess, worker_info
from synfarm.queue.worker_metrics import UnitMetrics
from synfarm.settings import RedisSettings
from synfarm.storage.memory import MemoryStore

pytestmark = pytest.mark.integration
JOB = "01jd0000000000000000000000"


def test_two_processes_never_share_an_id() -> None:
    first, second = (worker_info("render", capabilities=("collage-s",)) for _ in range(2))
    assert first.id != second.id
    assert first.id.startswith("render-")


def test_a_worker_s_life(
    redis: Redis,
    redis_settings: RedisSettings,
    keys: Keys,
    sent_task: Callable[..., UnitTask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Celery's own loop is left out (processes of their own test it): the message is handed to the task as it would."""
    store = MemoryStore()
    plain = JobRequest.model_validate({"concepts": ["dog"], "captions": 8}).model_dump(exclude={"captions_per_unit"})
    spec = JobSpec(**plain, job=JOB, owner="ada", created_at=utc_now(), captions_per_unit=8)
    store.create(layout.job(JOB), spec.to_bytes())
    store.create(layout.active(JOB), b"{}")
    info = worker_info("render", capabilities=("collage-s",))
    worker = WorkerProcess(store, info, redis_settings=redis_settings, faults=Faults(), grace_seconds=5)
    registry = CollectorRegistry()
    seen: list[tuple[str, int]] = []
    answers: dict[str, str] = {}

    def work(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        seen.append((spec.job, task.unit))

    def consume(app: Any, *, queues: Sequence[str], name: str, **_: object) -> int:
        assert (list(queues), name) == (["render.collage-s.normal"], info.id)
        app.tasks[RENDER_TASK](sent_task(unit=0).model_dump(mode="json"))
        for path in ("/healthz", "/readyz", "/metrics"):
            with urllib.request.urlopen(address + path, timeout=10) as answer:
                answers[path] = answer.read().decode()
        while not (found := live_workers(redis, keys)):
            time.sleep(0.01)
        assert [worker.id for worker in found] == [info.id]
        return 3

    monkeypatch.setattr(process, "run_worker", consume)
    worker.take(RENDER_TASK, work, UnitMetrics("synfarm_render_", registry).left)
    worker.serve_health(registry, host="127.0.0.1", port=0)
    assert worker._health is not None
    address = f"http://127.0.0.1:{worker._health.port}"
    assert worker.run(["render.collage-s.normal"], pool="solo") == 3
    assert seen == [(JOB, 0)]
    health = json.loads(answers["/healthz"])
    assert (health["status"], health["units"], health["progress_age_seconds"]) == ("ok", [], None)
    assert health["idle_seconds"] >= 0
    assert json.loads(answers["/readyz"]) == {"status": "ready", "missing": {}, "model": None}
    assert 'synfarm_render_units_total{outcome="done"} 1.0' in answers["/metrics"]
    assert "synfarm_render_unit_seconds_count 1.0" in answers["/metrics"]
    assert "synfarm_worker_hung 0.0" in answers["/metrics"]
    assert 'synfarm_device_seconds_total{device="cpu"}' in answers["/metrics"]
    assert live_workers(redis, keys) == [], "the announcement was taken back"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address + "/healthz", timeout=5)
