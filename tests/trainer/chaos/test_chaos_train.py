"""A run goes through restarts, outages, damage and kills, and makes the losses of a calm run over the same objects.

``make test`` has an edition of a minute, with damage at rest and one fault of each kind between run and store, and a
service that is asked to leave; ``make chaos-train`` goes on with all kinds in a drawn order, at 1, 2 and 3 ranks.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.fault_proxy import FaultProxy
from tests.trainer.chaos.faults import PROCESS_FAULTS, STORE_FAULTS, Site, Strike
from tests.trainer.chaos.trainer_service import FINAL, SMALL_RUN, TrainerService, until

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Commit
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.local.servers import LocalS3
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.slow]

SEED = os.environ.get("SYNFARM_CHAOS_SEED")
MINUTES = float(os.environ.get("SYNFARM_CHAOS_MINUTES", "10"))
CAPTIONS, IMAGES, PER_UNIT = 512, 4, 8
DAMAGED = 20
"""Images of 2,048: one in a hundred."""
SMALL: dict[str, object] = {
    **SMALL_RUN,
    "data.block_shards": 4,
    # Less than the data set, so that every epoch asks the store again.
    "data.cache_mib": 1,
    "data.cache_disk_mib": 1,
    "data.fetch_threads": 4,
    "data.max_refill_rate": 0.05,
    "checkpoint.every_steps": 10,
    "eval.knn": False,
    "eval.patch_pca": False,
}
QUICK = {"SYNFARM_STORE_READ_TIMEOUT": "3", "SYNFARM_STORE_CONNECT_TIMEOUT": "2"}


@dataclass
class Diary:
    """What happened when; pytest shows it when the test fails."""

    seed: int
    began: float = field(default_factory=time.monotonic)

    def __call__(self, line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self.began:7.1f} s  {line}\n")
        sys.stdout.flush()


@dataclass
class Place:
    """A store of its own behind a proxy, a data set with damage at rest, a service."""

    s3: LocalS3
    proxy: FaultProxy
    service: TrainerService
    job: str
    damaged: set[tuple[str, int]]
    """(caption id, image)."""


@pytest.fixture
def place(tmp_path: Path, write_dataset: Callable[..., Any]) -> Iterator[Place]:
    (tmp_path / "trainer").mkdir()
    s3 = LocalS3.start(tmp_path / "s3")
    proxy = FaultProxy(("127.0.0.1", s3.ports.s3), notes=False)
    service: TrainerService | None = None
    try:
        settings: StoreSettings = s3.settings()
        store = open_store(settings)
        job = write_dataset(store, captions=CAPTIONS, images=IMAGES, per_unit=PER_UNIT).job
        spec = JobSpec(
            job=job,
            owner="local",
            created_at=utc_now(),
            captions_per_unit=PER_UNIT,
            captions=CAPTIONS,
            concepts=(Concept(name="thing"),),
        )
        store.create(layout.job(job), spec.to_bytes())
        damaged = _damage(store, job, random.Random(1))
        service = TrainerService(tmp_path / "trainer", settings, proxy.endpoint, QUICK)
        yield Place(s3, proxy, service, job, damaged)
    finally:
        if service is not None:
            service.close()
        proxy.close()
        s3.server.kill()


def _damage(store: ObjectStore, job: str, chance: random.Random) -> set[tuple[str, int]]:
    """Overwrite the head of some images where they lie; no two of one caption.

    In a few shards only: each must be read several times before it is believed to be damaged.
    """
    units = chance.sample(range(CAPTIONS // PER_UNIT), 5)
    captions = [unit * PER_UNIT + place for unit in units for place in range(PER_UNIT)]
    chosen = {index: chance.randrange(IMAGES) for index in chance.sample(captions, DAMAGED)}
    found: set[tuple[str, int]] = set()
    for unit in sorted({index // PER_UNIT for index in chosen}):
        commit = Commit.from_bytes(store.get(layout.commit(job, unit)))
        assert commit.shard is not None
        data = bytearray(store.get(commit.shard.key))
        for place, row in enumerate(commit.groups):
            image = chosen.get(unit * PER_UNIT + place)
            if image is not None:
                at = row.members[image].offset
                data[at : at + 40] = bytes(40)
                found.add((row.caption_id, image))
        store.put(commit.shard.key, bytes(data))
    return found


def _run(place: Place, ranks: int, steps: int, strikes: dict[str, Strike], seed: int, tell: Diary) -> dict[int, Any]:
    """The records of a run's steps, struck at steps that lie evenly."""
    chance = random.Random(seed)
    run = place.service.submit(place.job, ranks, {**SMALL, "schedule.steps": steps})
    site = Site(place.service, place.s3, place.proxy, run)
    tell(f"run {run} on {ranks} ranks: {steps} steps, {len(strikes)} faults")
    for number, (name, strike) in enumerate(strikes.items()):
        wanted = (number + 1) * steps // (len(strikes) + 2)

        def at_work(wanted: int = wanted) -> dict[str, Any] | None:
            view = place.service.view(run)
            assert view["state"] not in FINAL, view
            return view if view["state"] == "running" and view["step"] >= wanted else None

        view = until(at_work, f"step {wanted}", 180)
        assert view["step"] < steps, "the fault must fall inside the run"
        tell(f"step {view['step']}: {name}")
        tell(f"  {strike(site, chance)}")
    view = place.service.end(run, 300)
    assert (view["state"], view["step"]) == ("completed", steps), view
    assert place.service.processes(run) == ([], []), "no process of an earlier start survives"
    tell(f"completed in attempt {view['attempt']}, {view['refilled']} samples refilled")
    metrics = place.service.metrics(run)
    assert sorted(metrics) == list(range(1, steps + 1))
    return metrics


def _assert_same(found: dict[int, Any], calm: dict[int, Any]) -> None:
    for step, wanted in calm.items():
        for name in ("batch_sha256", "loss_hex", "refilled"):
            assert found[step][name] == wanted[name], (step, name)


def _assert_refilled(place: Place, metrics: dict[int, Any]) -> None:
    """What was replaced was damaged at rest, told by the journals; transit's damage never counts."""
    assert metrics[max(metrics)]["refilled"] > 0
    told = set()
    for journal in (place.service.folder / "runs").glob("*/journal-*.jsonl"):
        for line in journal.read_text().splitlines():
            if '"refilled": {' in line:
                told.add(line.partition('"refilled": ')[2])
    assert told
    for line in told:
        assert any(f'"{caption}", "image": {image},' in line for caption, image in place.damaged), line


@pytest.mark.timeout(600)
def test_a_run_among_faults_makes_the_losses_of_a_calm_one(place: Place) -> None:
    tell = Diary(1)
    names = ("slow objects", "damage in transit", "store restarts", "cache disk full")
    strikes = {**{name: STORE_FAULTS[name] for name in names}, "service stopped": PROCESS_FAULTS["service stopped"]}
    found = _run(place, 2, 56, strikes, 1, tell)
    calm = _run(place, 2, 56, {}, 1, tell)
    _assert_same(found, calm)
    _assert_refilled(place, found)


@pytest.mark.long
@pytest.mark.timeout(MINUTES * 60 + 1800)
def test_random_faults_for_minutes(place: Place) -> None:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(1 << 32)
    tell, chance = Diary(seed), random.Random(seed)
    tell(f"chaos with seed {seed}; repeat it with SYNFARM_CHAOS_SEED={seed}")
    kinds = {**STORE_FAULTS, **PROCESS_FAULTS}
    steps, calm, rounds, faults = 320, {}, 0, 0
    while rounds < 2 or time.monotonic() - tell.began < MINUTES * 60:
        ranks = (1, 2, 3)[rounds % 3]
        if ranks not in calm:
            calm[ranks] = _run(place, ranks, steps, {}, seed, tell)
            _assert_refilled(place, calm[ranks])
        # All kinds in the first two rounds, then again in another order.
        names = chance.sample(sorted(kinds), len(kinds))
        found = _run(place, ranks, steps, {name: kinds[name] for name in names}, chance.randrange(1 << 32), tell)
        _assert_same(found, calm[ranks])
        rounds, faults = rounds + 1, faults + len(names)
    batches = [{step: line["batch_sha256"] for step, line in metrics.items()} for metrics in calm.values()]
    assert all(other == batches[0] for other in batches), "the ranks do not change the batches"
    tell(f"{faults} faults in {rounds} runs of {steps} steps; every loss is that of the calm run, bit by bit")
