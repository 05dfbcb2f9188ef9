"""A worker process whose work is trivial and whose protocol is real: run by the chaos tests of the feeder.

``python feeder_worker.py caption|render <id> <seconds a unit>``
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import write_jsonl
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.renders import CAPTION_TASK, RENDER_TASK, Stage, UnitTask
from synfarm.faults import Faults
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.draining import Draining
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease, LeaseBook, LeaseSettings
from synfarm.queue.presence import Presence, WorkerInfo
from synfarm.queue.unit import UnitRunner
from synfarm.queue.worker import run_worker
from synfarm.settings import ProcessSettings, RedisSettings, StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm.telemetry import configure_logging


def _units() -> ModuleType:
    path = Path(__file__).parent.parent / "caption_api" / "feeder" / "conftest.py"
    spec = importlib.util.spec_from_file_location("feeder_units", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main(stage: str, name: str, seconds: float) -> int:
    configure_logging("debug", "json", process=name)
    units = _units()
    settings = RedisSettings()
    redis, app, store = connect(settings), make_app(settings), open_store(StoreSettings())
    keys, clock, draining = Keys(settings.namespace), RedisClock(redis), Draining(grace_seconds=10)
    board, faults = Board(redis, keys, clock), Faults(ProcessSettings().faults)
    dispatch = Dispatcher(app, board)
    info = WorkerInfo(
        id=name,
        kind="caption" if stage == "caption" else "render",
        capabilities=("collage-s",) if stage == "render" else (),
        started_at=utc_now(),
    )
    presence = Presence(redis, keys, info, draining=draining, ttl_seconds=3)
    leases = LeaseBook(redis, keys, worker=name, settings=LeaseSettings())
    runner = UnitRunner(
        store=store,
        board=board,
        flags=FlagBook(redis, keys, store),
        leases=leases,
        faults=faults,
        draining=draining,
        presence=presence,
    )

    def caption(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        time.sleep(seconds)
        made = units.records(spec, task.unit)
        store.create(layout.captions(spec.job, task.unit), write_jsonl(made))
        faults.reach("caption.after_jsonl", task.unit)
        board.mark_captions(spec.job, task.unit, made)
        dispatch.send(spec, task.unit, Stage.RENDER)

    def render(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        for _ in range(4):
            time.sleep(seconds / 4)
            lease.progress()
            lease.check()
        commit = units.commit_of(spec, task.unit, lease.attempt)
        faults.reach("render.before_commit", task.unit)
        if store.create(layout.commit(spec.job, task.unit), commit.to_bytes()):
            faults.reach("render.after_commit", task.unit)
            board.mark_commit(commit)

    @app.task(name=CAPTION_TASK)
    def caption_unit(message: dict[str, Any]) -> None:
        runner.run(UnitTask.model_validate(message), caption)

    @app.task(name=RENDER_TASK)
    def render_unit(message: dict[str, Any]) -> None:
        runner.run(UnitTask.model_validate(message), render)

    presence.start()
    queues = ["caption.high", "caption.normal"] if stage == "caption" else ["render.collage-s.normal"]
    pool = "threads" if stage == "caption" else "solo"
    code = run_worker(app, queues=queues, pool=pool, concurrency=2, draining=draining, name=name)
    presence.stop()
    leases.close()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
