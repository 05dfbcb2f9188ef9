"""Kill -9 at each step of the protocol, of each process, and of Redis' memory: the job ends whole, nothing twice.

Every test proves that its fault fell inside work: a marker, a held lease, an unfinished job.
"""

from __future__ import annotations

import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit
from synfarm.queue.presence import live_workers

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
    one = {"SYNFARM_CAPTION_WORKER_UNITS": "1", "SYNFARM_RENDER_FINISHING": "0"}
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


@pytest.mark.parametrize(
    "point",
    [
        "render.after_upload",
        *(pytest.param(f"render.before_{what}", marks=pytest.mark.long) for what in ("upload", "commit")),
    ],
)
async def test_kill_of_a_render_worker_that_finishes_one_unit_and_has_drawn_the_next(
    farm: Any, quick: dict[str, str], tmp_path: Path, point: str
) -> None:
    finishing, drawn = tmp_path / "finishing", tmp_path / "drawn"
    # Two threads of one process hang, each with a unit, so that the kill falls into both however slow this machine is.
    hang = f"{point}:unit=4:hang:{finishing};render.after_draw:unit=5:hang:{drawn}"
    one = {"SYNFARM_CAPTION_WORKER_UNITS": "1"}  # units then come in their order
    async with farm(extra=quick | one, faults={"render-worker": hang}) as f:
        job = (await f.submit(captions=48)).job

        async def both() -> bool:
            return all(
                file.exists() and file.read_text().endswith(unit) for file, unit in ((finishing, "4"), (drawn, "5"))
            )

        await f.until(both)
        pid = f.supervisor.pid("render-worker")
        assert {file.read_text().split()[0] for file in (finishing, drawn)} == {str(pid)}

        async def shown() -> bool:
            (worker,) = [w for w in live_workers(f.redis, f.keys) if w.kind == "render"]
            return set(worker.units) == {f"{job}/4", f"{job}/5"}

        await f.until(shown)
        assert f.redis.mget([f.keys.lease(job, unit, "render") for unit in (4, 5)]) != [None, None]
        os.kill(pid, signal.SIGKILL)
        assert f.store_is_unfinished(job)
        await f.finish(job)
        counters = f.counters(job)
        assert (counters.lost_workers, counters.repairs, counters.resends) == (2, 2, 2), "both, and nothing else"


@pytest.mark.parametrize("stage", ["caption", "render"])
async def test_kill_of_a_worker_with_a_unit_in_hand(
    farm: Any, quick: dict[str, str], tmp_path: Path, stage: str
) -> None:
    process, held = f"{stage}-worker", tmp_path / "held"
    # It stops by itself once it holds the unit, so that the kill falls inside it however fast or slow this machine is.
    async with farm(extra=quick, faults={process: f"{stage}.after_claim:unit=5:stop:{held}"}) as f:
        job = (await f.submit(captions=48)).job

        async def at_work() -> bool:
            return held.exists() and held.read_text().endswith(f"{stage}.after_claim 5")

        await f.until(at_work)
        pid = f.supervisor.pid(process)
        assert held.read_text().split()[0] == str(pid)
        os.kill(pid, signal.SIGKILL)
        assert f.store_is_unfinished(job)
        await f.finish(job)
        assert f.supervisor.restarted[process] >= 1
        assert f.counters(job).lost_workers >= 1


@pytest.mark.parametrize("process", ["caption-api", "redis"])
async def test_kill_of_a_server_in_mid_job(farm: Any, quick: dict[str, str], process: str) -> None:
    async with farm(extra=quick, llm=0.1) as f:
        job = (await f.submit(captions=48)).job
        await f.until_committed(job, 2)
        with f.frozen("render-worker"):  # or it may finish the job before the kill
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
        job = (await f.submit(captions=64)).job
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
        with f.frozen("render-worker"):
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
        with f.frozen("render-worker"):
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
        with f.frozen("render-worker"):
            assert f.store_is_unfinished(job)
            for process in ("caption-api", "caption-worker", "render-worker", "redis", "s3"):
                pid = f.supervisor.pid(process)
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
        killed = datetime.now(UTC)
        await f.finish(job)
        made = [
            Commit.from_bytes(f.store.get(info.key)).committed_at for info in f.store.list(layout.commits_prefix(job))
        ]
        later = sorted(at for at in made if at > killed)
        assert later, "nothing was left to do"
        assert later[0] - killed < timedelta(seconds=60), "the repair took a minute"


async def test_duplicate_and_dropped_messages_change_nothing(farm: Any, quick: dict[str, str]) -> None:
    async with farm(extra=quick) as f:
        renders, captions = f.keys.queue("render.collage-s.normal"), f.keys.queue("caption.normal")

        async def waiting(queue: str) -> bool:
            return bool(f.redis.llen(queue) >= 2)

        # Nobody takes messages while they are tampered with.
        with f.frozen("caption-worker"), f.frozen("render-worker"):
            job = (await f.submit(captions=48)).job
            await f.until(lambda: waiting(captions))
            assert f.redis.rpop(captions) is not None
        with f.frozen("render-worker"):
            await f.until(lambda: waiting(renders))
            message = f.redis.lindex(renders, -1)
            assert f.redis.lpush(renders, message)
        ended = await f.finish(job)
        assert ended.counts.units_committed == 12
