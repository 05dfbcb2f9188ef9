"""What must hold of a farm's jobs whatever was done to it: told by the store alone, then by Redis and the API."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from synfarm.contracts import layout
from synfarm.contracts.captions import read_jsonl
from synfarm.contracts.commits import Commit
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, manifest_hash, read_part
from synfarm.queue.board import JobCounters
from synfarm.queue.presence import live_workers
from synfarm.storage.protocol import ObjectStore

__all__ = ["assert_at_rest", "assert_true", "assert_whole", "orphans"]

WORKERS = ("caption-worker", "render-worker")


def assert_whole(store: ObjectStore, job: str) -> Ended:
    """Manifest = plan minus listed slots; no group twice; every hash right; totals true; nothing dead or active.

    No fault of the chaos suite is a unit's own, so a dead unit is one that was blamed for others' faults.
    """
    spec = JobSpec.from_bytes(store.get(layout.job(job)))
    ended = Ended.from_bytes(store.get(layout.ended(job, 1)))
    lines = []
    for part in ended.parts:
        data = store.get(part.key)
        assert hashlib.sha256(data).hexdigest() == part.sha256
        lines += read_part(data)
    assert manifest_hash(ended.parts) == ended.manifest_sha256
    assert [line.unit for line in lines] == list(range(spec.units))
    seen: list[str] = []
    empty: list[str] = []
    counts, draws, rejections = Counts(), 0, Counter[str]()
    for line in lines:
        assert line.status == "committed", line
        jsonl = store.get(layout.captions(job, line.unit))
        records = read_jsonl(jsonl)
        draws += sum(record.draws for record in records)
        for record in records:
            rejections.update({reason.value: count for reason, count in record.rejections.items()})
        commit = Commit.from_bytes(store.get(layout.commit(job, line.unit)))
        assert hashlib.sha256(jsonl).hexdigest() == commit.captions_sha256
        assert line.shard == commit.shard
        empty += [slot.caption_id for slot in commit.empty]
        seen += [row.caption_id for row in commit.groups]
        if commit.shard is not None:
            tar = store.get(commit.shard.key)
            assert hashlib.sha256(tar).hexdigest() == commit.shard.sha256
            for row in commit.groups:
                assert hashlib.sha256(tar[row.offset : row.offset + row.length]).hexdigest() == row.sha256
                assert len(row.members) == spec.images_per_caption + 1
        size = commit.shard.size if commit.shard else 0
        counts += Counts(
            units_committed=1, captions=len(commit.groups), images=commit.images, empty=len(commit.empty), bytes=size
        )
    assert len(seen) == len(set(seen))
    assert sorted(seen + empty) == [caption_id(job, i) for i in range(spec.captions)]
    assert counts == ended.counts
    assert (draws, dict(rejections)) == (ended.draws, ended.rejections)
    assert next(store.list(layout.failures_prefix(job)), None) is None
    assert store.head(layout.active(job)) is None
    return ended


def orphans(store: ObjectStore, job: str) -> set[str]:
    """Shards of a job that no commit names: of workers that died before their commit, or came second."""
    named = set()
    for info in store.list(layout.commits_prefix(job)):
        shard = Commit.from_bytes(store.get(info.key)).shard
        named |= set() if shard is None else {shard.key}
    there = {info.key for info in store.list(f"{layout.job_prefix(job)}shards/")}
    assert named <= there, "a commit names a shard that is not there"
    return there - named


async def assert_at_rest(farm: Any, jobs: Sequence[str], *, seconds: float) -> list[Ended]:
    """All that must hold once nothing is done to the farm any more; waits ``seconds`` for ``jobs``, all that were ever
    submitted, to end.
    """
    async with asyncio.timeout(seconds):
        for job in jobs:
            assert (await farm.client.jobs.wait(job, poll=0.2)).state is JobState.COMPLETED
    # In threads, four jobs at a time: a long run leaves a hundred, and the supervisor lives on this loop.
    with ThreadPoolExecutor(4) as threads:
        loop = asyncio.get_running_loop()
        ended = await asyncio.gather(*(loop.run_in_executor(threads, assert_whole, farm.store, job) for job in jobs))
    # A submission whose answer was lost was sent again, and made no second job.
    assert sorted(farm.store.list_folders(layout.jobs_prefix())) == sorted(jobs)
    assert next(farm.store.list(layout.active_prefix()), None) is None
    for client in filter(None, (farm.client, farm.twin)):
        for job, end in zip(jobs, ended, strict=True):
            view = await client.jobs.get(job)
            assert (view.state, view.counts) == (JobState.COMPLETED, end.counts)
            assert (view.draws, view.rejections, view.captions_written) == (
                end.draws,
                end.rejections,
                end.counts.captions,
            )
    await _assert_idle(farm)
    names = [name for name in farm.processes if name.removesuffix("-2") in WORKERS]
    assert {name: farm.logged(name, "unit_fault") for name in names} == dict.fromkeys(names, 0)
    apis = [name for name in farm.processes if name.removesuffix("-2") == "caption-api"]
    assert {name: farm.logged(name, "feeder_pass_broke") for name in apis} == dict.fromkeys(apis, 0)
    return ended


def assert_true(counters: JobCounters, ended: Ended) -> None:
    """Live counters of a job at its end against the ledger's sums."""
    assert counters.counts == ended.counts
    assert (counters.draws, counters.rejections) == (ended.draws, ended.rejections)
    assert counters.written == ended.counts.captions


async def _assert_idle(farm: Any) -> None:
    """Nothing is stuck: every worker process is there and waits, and Redis holds no work."""
    names = [name for name in farm.processes if name.removesuffix("-2") in WORKERS]
    left: dict[str, object] = {}

    async def idle() -> bool:
        workers, keys = live_workers(farm.redis, farm.keys), farm.keys
        left["workers"] = sorted({worker.pid for worker in workers}) != sorted(
            farm.supervisor.pid(name) or 0 for name in names
        )
        left["units"] = [worker.units for worker in workers if worker.units]
        left["leases"] = list(farm.redis.scan_iter(f"{keys.namespace}:lease:*"))
        queues = [queue for stage in ("caption", "render") for queue in farm.redis.scan_iter(keys.queue(f"{stage}.*"))]
        left["messages"] = {queue: farm.redis.llen(queue) for queue in queues}
        # Of jobs that ended nothing stays for ever.
        left["keys"] = [key for key in farm.redis.scan_iter(keys.job("*"), count=1000) if farm.redis.ttl(key) == -1]
        return not any(left.values())

    try:
        await farm.until(idle, 90)
    except TimeoutError:
        raise AssertionError(f"something is left or stuck: { {what: of for what, of in left.items() if of} }") from None
