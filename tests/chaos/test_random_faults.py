"""Faults drawn at random from a printed seed fall on a real farm at work; in the end everything is whole.

``make test`` has an edition of a minute and a half with one seed, small time-outs and each kind of fault once;
``make chaos`` a long one with new seeds and the time-outs that ship.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from tests.chaos.invariants import assert_at_rest, assert_true, orphans
from tests.chaos.random_faults.kinds import KINDS
from tests.chaos.random_faults.load import Load
from tests.chaos.random_faults.plan import Pace, draw_faults
from tests.chaos.random_faults.site import Site
from tests.chaos.random_faults.storm import Storm

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit
from synfarm.contracts.manifests import Ended
from synfarm.housekeeping.collecting import collect
from synfarm.housekeeping.verification.verifying import verify
from synfarm.storage.protocol import ObjectStore

pytestmark = [pytest.mark.chaos, pytest.mark.integration]

SEED = os.environ.get("SYNFARM_CHAOS_SEED")
MINUTES = float(os.environ.get("SYNFARM_CHAOS_MINUTES", "6"))
REPAIR_SECONDS, REST_SECONDS = 60, 240

_SHORT = Pace(between=(0.1, 1.0), lease=3, lock=2, read_timeout=3, away=7, weather=(1.5, 3))
_LONG = Pace(between=(0.5, 8), lease=30, lock=5, read_timeout=30, away=20, weather=(5, 20))


@dataclass
class Journal:
    """What happened when; pytest shows it when the test fails."""

    seed: int
    began: float = field(default_factory=time.monotonic)

    def __call__(self, line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self.began:7.1f} s  {line}\n")
        sys.stdout.flush()

    def repeat(self) -> str:
        return f"repeat it with SYNFARM_CHAOS_SEED={self.seed}"


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_every_kind_of_fault_falls_once(farm: Any, quick: dict[str, str]) -> None:
    extra = {**quick, "SYNFARM_FEEDER_SWEEP_SECONDS": "2", "SYNFARM_STORE_READ_TIMEOUT": f"{_SHORT.read_timeout:g}"}
    await _survive(farm, int(SEED or 20261129), _SHORT, seconds=0, extra=extra)


@pytest.mark.long
@pytest.mark.timeout(MINUTES * 60 + 1800)
async def test_random_faults_for_minutes_with_the_shipped_time_outs(farm: Any) -> None:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(1 << 32)
    await _survive(farm, seed, _LONG, seconds=MINUTES * 60, extra={"SYNFARM_FEEDER_SWEEP_SECONDS": "10"})


async def _survive(farm: Any, seed: int, pace: Pace, *, seconds: float, extra: dict[str, str]) -> None:
    tell = Journal(seed)
    tell(f"chaos with seed {seed}; {tell.repeat()}")
    twins = ("caption-api", "caption-worker", "render-worker")
    async with farm(extra=extra, llm=0.1, twins=twins, proxied=True) as f:
        tell("the farm is up")
        site = Site(f, pace)
        load, storm = Load(site, seed), Storm(site, KINDS, tell)
        await load.top_up()
        async with asyncio.TaskGroup() as tasks:
            keeping, watching = tasks.create_task(load.keep()), tasks.create_task(site.repairs.watch())
            plan = draw_faults(seed, [kind.name for kind in KINDS])
            await f.supervisor.guard(storm.rage(plan, seconds))
            tell(f"{len(storm.struck)} faults fell on {len(site.jobs)} jobs; now it must come to rest")
            load.end()
            async with asyncio.timeout(REST_SECONDS):
                await keeping
            ended = await assert_at_rest(f, site.jobs, seconds=REST_SECONDS)
            await f.until(lambda: _none_open(site), 10)
            watching.cancel()
        site.close()
        _assert_counted(site, ended)
        _assert_in_work(f.store, site.jobs, storm)
        for job in site.jobs:
            assert verify(f.store, job).findings == ()
            _assert_no_orphans(f.store, job)
        # It is not only idle: it works.
        job = (await f.submit(captions=8)).job
        await f.finish(job)
    repairs = sorted(repair.seconds for repair in site.repairs.done)
    assert repairs, "no fault met a unit"
    median, longest = repairs[len(repairs) // 2], repairs[-1]
    tell(f"{len(repairs)} units were lost; repaired after {median:.1f} s (median), {longest:.1f} s (longest)")
    slow = [repair for repair in site.repairs.done if repair.seconds >= REPAIR_SECONDS]
    assert not slow, f"the farm took a minute to notice {slow}"
    captions = sum(end.counts.captions for end in ended)
    tell(f"{captions} captions in {sum(e.counts.units_committed for e in ended)} units, all whole; {tell.repeat()}")


async def _none_open(site: Site) -> bool:
    return not site.repairs.open


def _assert_counted(site: Site, ended: list[Ended]) -> None:
    told = [(site.counters_at_end(end.job, end.ended_at.timestamp()), end) for end in ended]
    for counters, end in told:
        if counters is not None:
            assert_true(counters, end)
    assert any(counters is not None for counters, _ in told)


def _assert_in_work(store: ObjectStore, jobs: list[str], storm: Storm) -> None:
    """Every fault fell while work was left: something was committed after it."""
    assert not storm.missing
    listed = [info.key for job in jobs for info in store.list(layout.commits_prefix(job))]
    last = max(Commit.from_bytes(store.get(key)).committed_at for key in listed).timestamp()
    assert [struck.kind for struck in storm.struck if struck.at >= last] == []


def _assert_no_orphans(store: ObjectStore, job: str) -> None:
    """What `synfarm gc` leaves are the tars that commits name; younger than a day, it leaves all of them."""
    found = orphans(store, job)
    assert collect(store, job=job, delete=True).objects == 0
    assert orphans(store, job) == found
    collect(store, job=job, now=store.now() + timedelta(days=2), delete=True)
    assert orphans(store, job) == set()
