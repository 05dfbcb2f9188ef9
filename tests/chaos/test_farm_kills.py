"""Kill -9 at each step of the protocol, of each process, and of Redis' memory: the job ends whole, nothing twice.

Every test proves that its fault fell inside work: a marker, a held lease, an unfinished job.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(240)]

CAPTION_POINTS = ("caption.after_claim", "caption.before_jsonl", "caption.after_jsonl")
RENDER_POINTS = (
    "render.after_claim",
    "render.before_upload",
    "render.after_upload",
    "render.before_commit",
    "render.after_commit",
)


def _faults(folder: Path, points: tuple[str, ...], first_unit: int) -> tuple[str, dict[str, int]]:
    units = {point: first_unit + i for i, point in enumerate(points)}
    return ";".join(f"{point}:unit={unit}:kill:{folder / point}" for point, unit in units.items()), units


async def test_kill_at_every_step_of_the_protocol_with_the_shipped_time_outs(farm: Any, tmp_path: Path) -> None:
    captions, caption_units = _faults(tmp_path, CAPTION_POINTS, 0)
    renders, render_units = _faults(tmp_path, RENDER_POINTS, 3)
    # One unit at a time: a killed worker then holds the lease of the named unit alone, and the waits run side by side.
    one = {"SYNFARM_CAPTION_WORKER_UNITS": "1"}
    async with farm(faults={"caption-worker": captions, "render-worker": renders}, extra=one) as f:
        job = (await f.submit(captions=40)).job
        ended = await f.finish(job, seconds=200)
        killed = {}
        for point, unit in {**caption_units, **render_units}.items():
            marker = tmp_path / point
            assert marker.exists(), f"the fault at {point} did not fall"
            assert marker.read_text().endswith(f"{point} {unit}")
            killed[unit] = marker.stat().st_mtime
        assert f.supervisor.restarted["caption-worker"] >= len(CAPTION_POINTS)
        assert f.supervisor.restarted["render-worker"] >= len(RENDER_POINTS)
        for unit, at in killed.items():
            commit = Commit.from_bytes(f.store.get(layout.commit(job, unit)))
            # A kill after the commit needs no repair; every other one is repaired in less than a minute.
            assert commit.committed_at.timestamp() - at < 60, (unit, commit.committed_at)
        counters = f.counters(job)
        # Nothing is sent twice without need: the kill after the commit needs nothing, and the one between JSONL and
        # send goes on to the render stage, for which it is the first message.
        assert counters.lost_workers == len(CAPTION_POINTS) + len(RENDER_POINTS) - 1
        assert counters.resends == counters.lost_workers - 1
        assert counters.repairs == counters.lost_workers
        assert ended.counts.units_committed == 10


@pytest.mark.parametrize("process", ["caption-worker", "render-worker", "caption-api", "redis"])
async def test_kill_of_each_process(farm: Any, quick: dict[str, str], process: str) -> None:
    async with farm(extra=quick, llm=0.1) as f:
        job = (await f.submit(captions=48)).job
        await f.until_committed(job, 2)
        if process.endswith("-worker"):
            stage = process.removesuffix("-worker")

            async def at_work() -> bool:
                return any(True for _ in f.redis.scan_iter(f.keys.lease(job, 0, stage).replace(":0:", ":*:")))

            await f.until(at_work)
        pid = f.supervisor.pid(process)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert f.store_is_unfinished(job)
        await f.finish(job)
        assert f.supervisor.restarted[process] >= 1


@pytest.mark.parametrize("process", ["s3", "llm-server"])
async def test_an_outage_is_nobodys_fault(farm: Any, quick: dict[str, str], process: str) -> None:
    """A store or LLM that stays away stalls the job; no unit is blamed, however often it was tried."""
    workers = ("caption-worker", "render-worker")
    async with farm(extra=quick, llm=0.5) as f:
        job = (await f.submit(captions=96)).job
        await f.until_committed(job, 1)
        assert f.store_is_unfinished(job)
        await f.hold_down(process, 8)
        await f.finish(job)
        assert f.supervisor.restarted[process] >= 1
        assert sum(f.logged(worker, "environment_fault") for worker in workers) > 0, "it fell into no unit's work"
        assert [f.logged(worker, "unit_fault") for worker in workers] == [0, 0]


async def test_redis_loses_its_memory_while_units_are_in_work(farm: Any, quick: dict[str, str]) -> None:
    async with farm(extra=quick, llm=0.05) as f:
        job = (await f.submit(captions=48)).job
        await f.until_committed(job, 2)
        before = f.redis.get(f.keys.epoch)
        assert f.redis.hlen(f.keys.sent(job)) > 0, "nothing was in flight when the memory went"
        f.redis.flushall()
        assert f.store_is_unfinished(job)
        ended = await f.finish(job)
        assert f.counters(job).counts == ended.counts, "the live counters were not rebuilt"
        assert f.redis.get(f.keys.epoch) != before


async def test_redis_is_killed_and_its_file_is_lost(farm: Any, quick: dict[str, str]) -> None:
    async with farm(extra=quick, llm=0.05) as f:
        job = (await f.submit(captions=48)).job
        await f.until_committed(job, 2)
        pid = f.supervisor.pid("redis")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        shutil.rmtree(f.folder / "redis" / "appendonlydir")
        assert f.store_is_unfinished(job)
        await f.finish(job)


async def test_everything_is_killed_at_once(farm: Any, quick: dict[str, str]) -> None:
    async with farm(extra=quick, llm=0.05) as f:
        job = (await f.submit(captions=48)).job
        await f.until_committed(job, 2)
        began = time.monotonic()
        for process in ("caption-api", "caption-worker", "render-worker", "redis", "s3"):
            pid = f.supervisor.pid(process)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(1)
        await f.finish(job)
        assert time.monotonic() - began < 60


async def test_duplicate_and_dropped_messages_change_nothing(farm: Any, quick: dict[str, str]) -> None:
    async with farm(extra=quick, llm=0.05) as f:
        job = (await f.submit(captions=48)).job
        queue = f.keys.queue("render.collage-s.normal")
        captions = f.keys.queue("caption.normal")
        doubled = dropped = 0
        while (not doubled or not dropped) and f.store_is_unfinished(job):
            message = f.redis.lindex(queue, -1)
            if message is not None and not doubled:
                doubled += bool(f.redis.lpush(queue, message))
            if not dropped:
                dropped += f.redis.rpop(captions) is not None
            await asyncio.sleep(0.005)
        assert doubled
        assert dropped
        ended = await f.finish(job)
        assert ended.counts.units_committed == 12
