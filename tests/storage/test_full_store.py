"""A store without room: nobody's fault, told in words, and the unit is committed once there is room again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.faults import Faults
from synfarm.queue.app import connect
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.draining import Draining
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease, LeaseBook, LeaseSettings
from synfarm.queue.unit import Outcome, UnitRunner
from synfarm.settings import RedisSettings
from synfarm.storage.minio_store import MinioStore

pytestmark = pytest.mark.integration
JOB = "01jd0000000000000000000000"


@pytest.fixture
def board(redis_url: str) -> Iterator[Board]:
    redis = connect(RedisSettings(url=SecretStr(redis_url)))
    yield Board(redis, Keys("test"), RedisClock(redis))
    redis.close()


@pytest.mark.parametrize(("status", "code"), [(507, "XMinioStorageFull"), (507, ""), (500, "XMinioStorageFull")])
def test_a_full_store_stalls_the_job_and_costs_no_unit(
    proxied: MinioStore, proxy: Any, board: Board, status: int, code: str
) -> None:
    spec = JobSpec(
        job=JOB, owner="me", created_at=utc_now(), concepts=(Concept(name="cat"),), captions=4, captions_per_unit=4
    )
    proxied.create(layout.job(JOB), spec.to_bytes())
    proxied.create(layout.active(JOB), b"{}")
    keys, redis = Keys("test"), board._redis
    leases = LeaseBook(redis, keys, worker="w", settings=LeaseSettings())
    runner = UnitRunner(
        store=proxied,
        board=board,
        flags=FlagBook(redis, keys, proxied),
        leases=leases,
        faults=Faults(),
        draining=Draining(),
    )

    def work(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        proxied.put(layout.shard(JOB, 0, "ab" * 32), b"tar", content_type="application/x-tar")
        proxied.create(layout.commit(JOB, 0), b"{}")

    def run() -> Outcome:
        queue = "render.collage-s.normal"
        sequence = board.record_send(JOB, 0, Stage.RENDER, queue)
        return runner.run(UnitTask(job=JOB, unit=0, stage=Stage.RENDER, queue=queue, sequence=sequence), work)

    proxy.always["PUT"] = proxy.status(status, code)
    for _ in range(4):  # more often than what kills a unit
        assert run() is Outcome.ENVIRONMENT
    stalled = board.counters(JOB).stalled
    assert stalled is not None
    assert stalled.startswith("render: the object store is full: make room, and the work goes on by itself (jobs/")
    assert proxied.head(layout.failure(JOB, 0)) is None
    del proxy.always["PUT"]
    assert run() is Outcome.DONE
    assert proxied.head(layout.commit(JOB, 0)) is not None
    assert board.counters(JOB).stalled is None
    leases.close()
