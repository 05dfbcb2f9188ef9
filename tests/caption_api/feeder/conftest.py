"""A farm in one process: real Redis, a store in memory, a clock turned by hand, work that takes no time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord, DropReason, write_jsonl
from synfarm.contracts.commits import Commit, EmptySlot, GroupRow, Member, ShardRef
from synfarm.contracts.generations import Opening
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, ConceptKind, JobSpec, Lane
from synfarm.contracts.manifests import Ended, Progress
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.contracts.workers import WorkerInfo
from synfarm.faults import Faults
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import ManualClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.draining import Draining
from synfarm.queue.events import EventLog
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease, LeaseBook, LeaseSettings
from synfarm.queue.serving import CAPTION
from synfarm.queue.specs import read_spec
from synfarm.queue.unit import Outcome, UnitRunner, Work
from synfarm.settings import RedisSettings
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.feeder.feeder import Feeder
from synfarm_caption_api.feeder.settings import FeederSettings

QUICK = FeederSettings(
    pass_seconds=0.01,
    lock_seconds=5,
    claim_gap_seconds=30,
    settle_seconds=5,
    epoch_grace_seconds=10,
    window_min=4,
    span=64,
    part_units=8,
    progress_seconds=0,
)
SHA = "ab" * 32


def records(spec: JobSpec, unit: int) -> list[CaptionRecord]:
    """The unit's captions; every seventh slot is empty after three draws."""
    made = []
    for index in spec.unit_range(unit):
        empty = index % 7 == 6
        made.append(
            CaptionRecord(
                caption_id=caption_id(spec.job, index),
                index=index,
                concept=spec.concepts[0].name,
                text=None if empty else f"a cat number {index}",
                empty_reason=DropReason.TOO_SHORT if empty else None,
                draws=3 if empty else 1,
                rejections={DropReason.TOO_SHORT: 3} if empty else {},
                llm_seed=index,
                llm_model="stub",
            )
        )
    return made


def commit_of(spec: JobSpec, unit: int, attempt: str) -> Commit:
    """A commit that fits :func:`records`, with images of no bytes."""
    groups, empty = [], []
    for record in records(spec, unit):
        if record.text is None:
            empty.append(EmptySlot(index=record.index, caption_id=record.caption_id, reason=DropReason.TOO_SHORT))
            continue
        names = [f"{record.caption_id}.{k}.jpg" for k in range(spec.images_per_caption)]
        members = tuple(Member(name=name, offset=512, length=10) for name in [*names, f"{record.caption_id}.json"])
        groups.append(
            GroupRow(
                index=record.index,
                caption_id=record.caption_id,
                concept="cat",
                template="c",
                kind=ConceptKind.OBJECT,
                offset=0,
                length=1024,
                sha256=SHA,
                members=members,
            )
        )
    shard = ShardRef(key=layout.shard(spec.job, unit, SHA), sha256=SHA, size=1000) if groups else None
    return Commit(
        job=spec.job,
        unit=unit,
        attempt=attempt,
        worker="w",
        committed_at=utc_now(),
        shard=shard,
        groups=tuple(groups),
        empty=tuple(empty),
        captions_sha256=SHA,
        timings={"total": 3.0},
    )


class Farm:
    """Feeder, runner and queues of one namespace, driven step by step."""

    def __init__(self, redis_url: str, store: ObjectStore, rules: FeederSettings, readers: ThreadPoolExecutor) -> None:
        settings = RedisSettings(url=SecretStr(redis_url), namespace="test")
        self.redis: Redis = connect(settings)
        self.store, self.rules, self._readers = store, rules, readers
        self.clock = ManualClock()
        self.keys = Keys(settings.namespace)
        self.app = make_app(settings)
        self.board = Board(self.redis, self.keys, self.clock)
        self.flags = FlagBook(self.redis, self.keys, store)
        self.dispatch = Dispatcher(self.app, self.board)
        self.draining = Draining()
        self.leases = LeaseBook(self.redis, self.keys, worker="w", settings=LeaseSettings(ttl_seconds=600))
        self.feeder = self.new_feeder()
        self.runner = UnitRunner(
            store=store,
            board=self.board,
            flags=self.flags,
            leases=self.leases,
            faults=Faults(),
            draining=self.draining,
        )
        self.hire()
        self.work: dict[Stage, Work] = {Stage.CAPTION: self.caption, Stage.RENDER: self.render}
        self.renders: list[int] = []

    def new_feeder(self) -> Feeder:
        return Feeder(
            store=self.store,
            redis=self.redis,
            keys=self.keys,
            clock=self.clock,
            board=self.board,
            flags=self.flags,
            dispatch=self.dispatch,
            events=EventLog(self.redis, self.keys),
            readers=self._readers,
            settings=self.rules,
        )

    def submit(
        self, *, captions: int = 40, owner: str = "me", lane: Lane = Lane.NORMAL, budget: float = 0.05
    ) -> JobSpec:
        spec = JobSpec(
            job=str(ULID()).lower(),
            owner=owner,
            created_at=utc_now(),
            concepts=(Concept(name="cat"),),
            captions=captions,
            captions_per_unit=4,
            images_per_caption=2,
            lane=lane,
            error_budget=budget,
        )
        self.store.create(layout.job(spec.job), spec.to_bytes())
        self.store.create(layout.active(spec.job), b"{}")
        return spec

    def caption(self, spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        made = records(spec, task.unit)
        self.store.create(layout.captions(spec.job, task.unit), write_jsonl(made))
        self.board.mark_captions(spec.job, task.unit, made)
        self.dispatch.send(spec, task.unit, Stage.RENDER)

    def render(self, spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        self.renders.append(task.unit)
        commit = commit_of(spec, task.unit, lease.attempt)
        if self.store.create(layout.commit(spec.job, task.unit), commit.to_bytes()):
            self.board.mark_commit(commit)

    def hire(self) -> None:
        """Workers that are away for a moment only: nobody misses them, and no window grows by them."""
        for capability in (CAPTION, "collage-s"):
            self.redis.set(self.keys.served(capability), "w")

    def dismiss(self) -> None:
        """As half a minute without workers."""
        self.redis.delete(self.keys.served(CAPTION), self.keys.served("collage-s"))

    def announce(self, **info: Any) -> None:
        """A render worker that says of itself what ``info`` says."""
        worker = WorkerInfo(id="r", kind="render", capabilities=("collage-s",), started_at=utc_now(), **info)
        self.redis.sadd(self.keys.workers, worker.id)
        self.redis.set(self.keys.worker(worker.id), worker.to_bytes())

    def queues(self) -> list[str]:
        prefix = self.keys.queue_prefix
        names = [str(key).removeprefix(prefix) for key in self.redis.keys(prefix + "*.*")]
        order = {lane.value: number for number, lane in enumerate(Lane)}
        return sorted(names, key=lambda name: (order[name.rpartition(".")[2]], name))

    def pop(self, queue: str) -> UnitTask | None:
        raw = self.redis.rpop(self.keys.queue(queue))
        if raw is None:
            return None
        return UnitTask.model_validate(json.loads(base64.b64decode(json.loads(str(raw))["body"]))[0][0])

    def pop_any(self) -> UnitTask | None:
        return next((task for queue in self.queues() if (task := self.pop(queue)) is not None), None)

    def work_one(self) -> Outcome | None:
        """Handle one message; None if there is none."""
        task = self.pop_any()
        return None if task is None else self.runner.run(task, self.work[task.stage])

    def work_off(self) -> list[Outcome]:
        """Handle messages until there are none."""
        outcomes = []
        while (outcome := self.work_one()) is not None:
            outcomes.append(outcome)
        return outcomes

    def tick(self, seconds: float = 1.0) -> bool:
        self.clock.advance(seconds)
        return self.feeder.run_pass()

    def ended(self, spec: JobSpec) -> Ended | None:
        keys = [info.key for info in self.store.list(layout.ended_prefix(spec.job))]
        if not keys or self.store.head(layout.active(spec.job)):
            return None
        return Ended.from_bytes(self.store.get(keys[-1]))

    def open_generation(self, spec: JobSpec, generation: int, why: str, captions: int) -> JobSpec:
        """As the API does; the spec as it is planned now."""
        opening = Opening(
            job=spec.job,
            generation=generation,
            why=why,
            captions=captions,
            by="me",
            at=utc_now(),  # type: ignore[arg-type]
        )
        assert self.store.create(layout.opening(spec.job, generation), opening.to_bytes())
        self.store.create(layout.active(spec.job), b"{}")
        return read_spec(self.store, spec.job)

    def progress(self, spec: JobSpec) -> Progress:
        return Progress.from_bytes(self.store.get(layout.progress(spec.job)))

    def finish(self, spec: JobSpec, *, most: int = 200) -> Ended:
        for _ in range(most):
            self.tick()
            self.work_off()
            if (ended := self.ended(spec)) is not None:
                return ended
        raise AssertionError(f"not ended: {self.board.counters(spec.job)}, sent {self.board.flight.sent(spec.job)}")

    def lose_worker(self, task: UnitTask) -> None:
        """As kill -9 after the claim and the TTL: the claim stays, the lease is gone."""
        lease = self.leases.claim(task)
        assert lease is not None
        self.leases._held.pop(lease.attempt)
        self.redis.delete(self.keys.lease(task.job, task.unit, task.stage.value))

    def close(self) -> None:
        self.leases.close()
        self.redis.close()
        self.app.close()


@pytest.fixture
def new_farm(redis_url: str) -> Iterator[Callable[..., Farm]]:
    """Builds farms: ``new_farm(store=…, rules=…)``."""
    farms: list[Farm] = []
    with ThreadPoolExecutor(4) as readers:

        def build(store: ObjectStore | None = None, rules: FeederSettings = QUICK) -> Farm:
            farms.append(Farm(redis_url, store or MemoryStore(), rules, readers))
            return farms[-1]

        yield build
        for farm in farms:
            farm.close()


@pytest.fixture
def records_of() -> Callable[[JobSpec, int], list[CaptionRecord]]:
    """As the caption stage of the farm makes them."""
    return records


@pytest.fixture
def farm(new_farm: Callable[..., Farm]) -> Farm:
    return new_farm()
