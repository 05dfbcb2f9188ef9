"""Fetching by position changes when a batch is there and nothing that is in it."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from synfarm.contracts import layout
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.cache.upcoming import Upcoming
from synfarm_trainer.data.fetch import DatasetDamaged, FetchStopped, ShardCache
from synfarm_trainer.data.loader import Loader, batch_sha256
from synfarm_trainer.data.manifest import load_dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.presets import resolve

STEPS, EPOCH = 9, 4
FIELDS: dict[str, object] = {
    "data.captions_per_batch": 12,
    "data.block_shards": 3,
    "data.prefetch_steps": 1,
    "data.threads": 2,
    "data.fetch_threads": 16,
    "augment.size": 16,
}


def loader_of(cache: ShardCache, dataset, *, rank: int = 0, world: int = 1, **fields: int) -> tuple[Loader, Plan]:
    config: TrainConfig = resolve("tiny", FIELDS)
    config = replace(config, data=replace(config.data, **fields))
    plan = Plan(dataset.table, 7, 12, 3, config.data.held_out)
    return Loader(dataset, plan, cache, config, rank=rank, world=world), plan


def hashes(caches: list[ShardCache], dataset, **fields: int) -> list[str]:
    parts = []
    for rank, cache in enumerate(caches):
        loader, _ = loader_of(cache, dataset, rank=rank, world=len(caches), **fields)
        parts.append(list(loader.batches(0, STEPS)))
        loader.close()
        assert cache._ranges == {}, "what was fetched ahead has been read"
    return [batch_sha256(np.concatenate([part.digests for part in step])) for step in zip(*parts, strict=True)]


def test_batches_are_the_same_by_every_way_and_in_whatever_order_things_arrive(stored, on_disk, in_ranges) -> None:
    """Over the border of an epoch, with a store that is slow, away and wrong at times."""
    store, dataset = stored
    plain = hashes([ShardCache(store, 1 << 20)], dataset, fetch_threads=0)
    assert len(set(plain)) == STEPS
    chance, hold = random.Random(5), threading.Lock()

    def fault(operation: str, key: str) -> None:
        with hold:
            drawn = chance.random()
        time.sleep(drawn * 0.003)
        if key.endswith(".tar") and drawn < 0.1:
            raise StoreUnavailable("away")

    def spoil(data: bytes) -> bytes:
        with hold:
            drawn = chance.random()
        return data if drawn > 0.1 else data[: int(len(data) * drawn)]

    store.fault, store.spoil = fault, spoil
    ways = {
        "memory": [ShardCache(store, 1 << 20, wait_seconds=0.001)],
        "little memory": [ShardCache(store, 1, wait_seconds=0.001)],
        "disk": [on_disk(store), on_disk(store)],
        "little disk": [on_disk(store, 300_000, memory=1)],
        "ranges": [in_ranges(store), in_ranges(store)],
    }
    assert {way: hashes(caches, dataset) == plain for way, caches in ways.items()} == dict.fromkeys(ways, True)


def test_hundreds_of_requests_are_in_flight(write_dataset, in_ranges) -> None:
    """The store answers nobody before two hundred have asked; a step has twelve groups."""
    together = threading.Event()
    store, met = MemoryStore(), threading.Barrier(200, action=together.set)
    dataset = load_dataset(store, [write_dataset(store, captions=320, size=32)], views=4)

    def fault(operation: str, key: str) -> None:
        if operation == "get_range":
            with suppress(threading.BrokenBarrierError):  # those that come after
                met.wait(60)
                met.abort()

    store.fault = fault
    loader, _ = loader_of(in_ranges(store), dataset, fetch_threads=200)
    assert next(loader.batches(0, STEPS * 4)).step == 0
    loader.close()
    assert together.is_set()


@pytest.mark.parametrize("groups", [0, 30])
def test_what_is_asked_ahead_is_bounded_and_in_order_of_position(stored, in_ranges, groups: int) -> None:
    """Each group is asked for once, by those who fetch ahead or by its reader."""
    store, dataset = stored
    cache = in_ranges(store)
    bound, seen = 1 + groups * max(row.length for row in dataset.rows), []
    cache.most_ahead = lambda most: bound
    loader, plan = loader_of(cache, dataset, fetch_threads=1)
    for batch in loader.batches(0, EPOCH):
        assert loader._ahead is not None
        seen.append(loader._ahead.asked_bytes)
        assert batch.step + 1 == len(seen)
    loader.close()
    assert 0 < max(seen) <= bound + max(row.length for row in dataset.rows)
    upcoming = Upcoming(dataset, plan, slice(0, 12))
    positions = [(ref.key, row.offset) for step in range(EPOCH) for ref, row in upcoming(step)]
    asked = store.ranges
    assert sorted(asked) == sorted(positions)
    assert cache._ranges == {}
    if groups:
        assert asked[:24] == positions[:24], "one request in flight: in the plan's order"


def test_the_look_ahead_ends_where_everything_is_near(stored) -> None:
    """Of a dataset that lies in memory nothing has to be fetched: that must not lead on to the end of the run."""
    store, dataset = stored
    loader, _ = loader_of(ShardCache(store, 1 << 30), dataset, fetch_ahead_mib=1)
    ahead, steps = loader._ahead, []
    assert ahead is not None
    groups = ahead._groups

    def told(step: int):
        steps.append(step)
        assert step < STEPS + 500, "far beyond a MiB of groups"
        return groups(step)

    ahead._groups = told
    batches = loader.batches(0, 10**6)
    for _ in range(STEPS):
        next(batches)
    batches.close()
    loader.close()
    per_step = 12 * min(row.length for row in dataset.rows)
    assert STEPS <= max(steps) <= STEPS + 2 + (1 << 20) // per_step


def test_the_look_ahead_takes_no_more_shards_than_half_of_the_commits_that_are_held(write_dataset, in_ranges) -> None:
    """Else a commit would be gone from memory, and read again, when the readers of its groups come."""
    store = MemoryStore()
    dataset = load_dataset(store, [write_dataset(store, captions=320, size=32, columns=True)], views=4, commits=20)
    loader, _ = loader_of(in_ranges(store), dataset)
    assert loader._ahead is not None
    batches, shards = loader.batches(0, STEPS), []
    for _ in range(STEPS):
        next(batches)
        shards.append(loader._ahead.shards_ahead)
    batches.close()
    loader.close()
    assert max(shards) == 10


def test_a_group_may_be_asked_for_again_while_its_reader_is_at_it(stored, in_ranges) -> None:
    """Its reader came before anybody asked, and the next epoch asks before that reader is done."""
    store, dataset = stored
    cache, ref, row = in_ranges(store), dataset.shards[0], dataset.rows[0]
    jobs = []

    def fault(operation: str, key: str) -> None:
        if operation == "get_range" and not jobs:
            jobs.append(cache.ask(ref, row))

    store.fault = fault
    first = cache.read(ref, row)
    assert cache.ask(ref, row) is None, "still asked for"
    size, job = jobs[0]
    assert size == row.length
    job()
    assert cache.read(ref, row) == first
    assert len(store.ranges) == 2
    assert cache._ranges == {}


def test_a_loader_is_closed_while_the_store_is_silent(stored, in_ranges) -> None:
    store, dataset = stored
    silent, asked = threading.Event(), threading.Semaphore(0)

    def fault(operation: str, key: str) -> None:
        if operation == "get_range":
            asked.release()
            silent.wait(60)

    store.fault = fault
    cache = in_ranges(store)
    loader, _ = loader_of(cache, dataset)
    ended: list[str] = []

    def take() -> None:
        try:
            next(loader.batches(0, STEPS))
        except (FetchStopped, CancelledError) as error:
            ended.append(type(error).__name__)

    taking = threading.Thread(target=take)
    taking.start()
    for _ in range(16):
        assert asked.acquire(timeout=60)
    while cache.counts.told()["misses"] < 2:
        time.sleep(0.005)  # until both threads that decode wait
    loader.close()
    taking.join(60)
    assert ended, "who waits for a batch is let go"
    silent.set()
    for worker in loader._ahead._workers:
        worker.join(60)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_shard_that_is_gone_ends_the_run_where_it_is_needed(stored, in_ranges, ranges: bool) -> None:
    store, dataset = stored
    cache = in_ranges(store) if ranges else ShardCache(store, 1 << 20, wait_seconds=0.001)
    loader, plan = loader_of(cache, dataset)
    steps = [{ref.key for ref, _ in Upcoming(dataset, plan, slice(0, 12))(step)} for step in range(STEPS)]
    first = next(step for step in range(1, STEPS) if steps[step] - set.union(*steps[:step]))
    store.delete(min(steps[first] - set.union(*steps[:first])))
    taken = []
    with pytest.raises(DatasetDamaged, match="is gone"):
        taken += loader.batches(0, STEPS)
    loader.close()
    loader, _ = loader_of(ShardCache(store, 1 << 20, wait_seconds=0.001), dataset)
    assert [batch.step for batch in loader.batches(0, first)] == list(range(first))
    loader.close()


def test_a_commit_that_is_gone_ends_the_run_where_it_is_needed(write_dataset, in_ranges) -> None:
    """The look ahead meets it long before, and waits for it once."""
    store = MemoryStore()
    dataset = load_dataset(store, [write_dataset(store, columns=True)], views=4)
    assert dataset.shelf is not None
    dataset.shelf._wait = 0.001
    loader, plan = loader_of(in_ranges(store), dataset)
    steps = [set(dataset.table.shard[plan.batch(step)].tolist()) for step in range(STEPS)]
    first = next(step for step in range(1, STEPS) if steps[step] - set.union(*steps[:step]))
    key = layout.commit("01hzzzzzzzzzzzzzzzzzzzzzz0", min(steps[first] - set.union(*steps[:first])))
    store.delete(key)
    taken, looks = [], []
    with pytest.raises(DatasetDamaged, match="is gone"):
        taken += (batch.step for batch in loader.batches(0, STEPS))
    loader.close()
    assert taken == list(range(first))
    me = threading.get_ident()
    store.fault = lambda operation, of: looks.append(of) if (of, threading.get_ident()) == (key, me) else None
    upcoming = Upcoming(dataset, plan, slice(0, 12))
    named = sum(len(list(upcoming(step))) for step in range(STEPS))
    upcoming.close()
    assert 0 < named < 12 * STEPS
    assert len(looks) <= 3, "once, whatever groups it has"
