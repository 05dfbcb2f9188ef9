"""One job's path in one trace, over messages as they lie in a real Redis; and nothing at all where it is off."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import pytest
from redis import Redis

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.renders import CAPTION_TASK, RENDER_TASK, Stage, UnitTask
from synfarm.faults import Faults
from synfarm.queue.app import make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.finishing import Finishing, FinishingRoom
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease
from synfarm.queue.process import WorkerProcess, worker_info
from synfarm.settings import RedisSettings
from synfarm.storage.memory import MemoryStore
from synfarm.tracing import Tracing, open_tracing

JOB = "01jd0000000000000000000000"


def test_off_imports_and_adds_nothing() -> None:
    code = (
        "import sys; from synfarm.tracing import open_tracing; t = open_tracing('off', 'x'); t.job_made('j', 0.0);"
        "print(t.carrier('j'), [name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{} []\n"


class Line:
    """Two workers and a feeder's dispatcher on one queue, in one process; messages are handed over as Celery does."""

    def __init__(self, settings: RedisSettings, redis: Redis, keys: Keys, tracing: Tracing) -> None:
        self.store, self.redis, self.keys = MemoryStore(), redis, keys
        plain = JobRequest.model_validate({"concepts": ["dog"], "captions": 8}).model_dump(
            exclude={"captions_per_unit"}
        )
        self.spec = JobSpec(**plain, job=JOB, owner="ada", created_at=utc_now(), captions_per_unit=8)
        self.store.create(layout.job(JOB), self.spec.to_bytes())
        self.store.create(layout.active(JOB), b"{}")
        app = make_app(settings)
        self.feeder = Dispatcher(app, Board(redis, keys, RedisClock(redis)))  # which traces nothing
        room = FinishingRoom(units=1, size=1)
        kinds = {"redis_settings": settings, "faults": Faults(), "grace_seconds": 5.0, "tracing": tracing}
        self.captions = WorkerProcess(self.store, worker_info("caption"), **kinds)  # type: ignore[arg-type]
        self.renders = WorkerProcess(self.store, worker_info("render"), finishing=room, **kinds)  # type: ignore[arg-type]
        on = Dispatcher(self.captions.app, self.captions.board, tracing)

        def caption(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
            on.send(spec, task.unit, Stage.RENDER)

        def render(spec: JobSpec, task: UnitTask, lease: Lease) -> Finishing:
            def finish() -> None:
                with tracing.part("commit"):
                    pass

            return Finishing(finish, 0)

        self.captions.take(CAPTION_TASK, caption)
        self.renders.take(RENDER_TASK, render)
        self.room = room

    def hand_over(self, worker: WorkerProcess, task: str, queue: str) -> None:
        """The queue's next message, with the headers that it has."""
        raw = self.redis.rpop(self.keys.queue(queue))
        assert raw is not None
        message = json.loads(str(raw))
        mine = {name: value for name, value in message["headers"].items() if name == "traceparent"}
        unit = json.loads(base64.b64decode(message["body"]))[0][0]
        worker.app.tasks[task].apply(args=(unit,), headers=mine, throw=True)
        assert self.room.wait_until_empty(60)


@pytest.fixture
def spans() -> Any:
    """(tracing, its finished spans)."""
    export = pytest.importorskip("opentelemetry.sdk.trace.export", reason="the extra `tracing` is not installed")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    from synfarm.tracing.otel import OtelTracing

    return OtelTracing("test", export.SimpleSpanProcessor(memory)), memory.get_finished_spans


@pytest.fixture
def line(spans: Any, redis_settings: RedisSettings, redis: Redis, keys: Keys) -> Line:
    return Line(redis_settings, redis, keys, spans[0])


@pytest.mark.integration
def test_from_the_request_to_the_commit_in_one_trace(line: Line, spans: Any) -> None:
    tracing, finished = spans
    tracing.job_made(JOB, 1_000.0)
    line.feeder.send(line.spec, 0, Stage.CAPTION)
    line.hand_over(line.captions, CAPTION_TASK, "caption.normal")
    line.hand_over(line.renders, RENDER_TASK, "render.collage-s.normal")
    found = {span.name: span for span in finished()}
    assert list(found) == ["job", "caption unit", "commit", "render unit"]
    assert len({span.context.trace_id for span in found.values()}) == 1
    assert found["job"].parent is None
    assert found["job"].start_time == 1_000 * 10**9
    for child, parent in (("caption unit", "job"), ("render unit", "caption unit"), ("commit", "render unit")):
        assert found[child].parent.span_id == found[parent].context.span_id, child
    assert found["render unit"].attributes["synfarm.outcome"] == "done"
    assert found["render unit"].attributes["synfarm.unit"] == 0


@pytest.mark.integration
def test_a_unit_that_the_feeder_sends_again_hangs_on_the_job(line: Line, spans: Any) -> None:
    tracing, finished = spans
    tracing.job_made(JOB, 1_000.0)
    for _ in range(2):
        line.feeder.send(line.spec, 3, Stage.RENDER)
        line.hand_over(line.renders, RENDER_TASK, "render.collage-s.normal")
    first, second = (span for span in finished() if span.name == "render unit")
    (job,) = (span for span in finished() if span.name == "job")
    assert first.context.span_id != second.context.span_id
    assert first.parent.span_id == second.parent.span_id == job.context.span_id
    assert first.context.trace_id == job.context.trace_id


def test_what_another_job_s_message_says_is_not_believed(spans: Any) -> None:
    tracing, finished = spans
    task = UnitTask(job=JOB, unit=0, stage=Stage.RENDER, queue="render.collage-s.normal", sequence=1)
    with tracing.unit(task, tracing.carrier("01jd0000000000000000000001")) as span:
        span.ended("fault")
    (told,) = finished()
    from synfarm.tracing.otel import job_context

    assert told.context.trace_id == job_context(JOB).trace_id
    assert not told.status.is_ok


def test_asked_for_and_not_installed_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "synfarm.tracing.otel", None)
    with pytest.raises(RuntimeError, match=r"pip install 'synfarm\[tracing\]'"):
        open_tracing("otlp", "x")
