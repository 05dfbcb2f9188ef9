"""The footprint that plans count with, against the code: one job by the real workers, requests and bytes counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from benchmarks.fixed_latency_llm import text_of
from tests.caption_api.feeder.conftest import Farm, new_farm

from synfarm.concepts import load
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec, RenderSettings
from synfarm.contracts.manifests import Counts
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.faults import Faults
from synfarm.planning import footprint
from synfarm.planning.footprint import Asks
from synfarm.planning.window import CAPTION_SLOTS, PASS_SECONDS, PER_SLOT, READERS, READS, SPAN, WINDOW_MAX, WINDOW_MIN
from synfarm.queue.specs import SpecCache
from synfarm.storage.columns_file import read_columns
from synfarm.storage.manifest_writer import recall_part
from synfarm.storage.memory import MemoryStore
from synfarm_caption_api.caption_work import CaptionWork
from synfarm_caption_api.feeder.settings import FeederSettings
from synfarm_caption_api.loop_thread import LoopThread
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.settings import WorkerSettings
from synfarm_caption_api.text_generator import FakeGenerator
from synfarm_render_worker.drawing import UnitDrawer
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.prefetch import CaptionPrefetch
from synfarm_render_worker.renderer import FakeRenderer
from synfarm_render_worker.rendering import UnitRenderer

__all__ = ["new_farm"]
pytestmark = pytest.mark.integration
_NEEDED = {
    "unit.number",
    "unit.groups",
    "unit.first",
    "unit.commit_sha256",
    "group.offset",
    "group.images",
    "group.concept",
}
"""What a run reads at its start (synfarm_trainer.data.parts), but for names."""
JOB, UNITS, PER_UNIT = "01k" + "0" * 23, 12, 16
_VERB = {"put": "put", "create": "put", "get": "get", "get_range": "get", "head": "head", "list": "list"}


@dataclass
class Counted:
    """A job made by real parts, and what each of them asked the store."""

    farm: Farm
    store: MemoryStore
    spec: JobSpec
    asked: dict[str, Counter[str]] = field(default_factory=dict)

    def of_a_unit(self, process: str) -> Asks:
        return Asks(**{verb: count / UNITS for verb, count in self.asked[process].items()})


@pytest.fixture
def counted(new_farm: Callable[..., Farm]) -> Iterator[Counted]:
    who, asked = ["feeder"], dict[str, Counter[str]]()
    flags = layout.pause(JOB), layout.cancel(JOB)

    def note(operation: str, key: str) -> None:
        if operation in _VERB and not key.startswith(flags):
            asked.setdefault(who[0], Counter())[_VERB[operation]] += 1

    store = MemoryStore()
    farm = new_farm(store, rules=FeederSettings(part_units=UNITS, window_min=UNITS, progress_seconds=0))
    spec = JobSpec(
        job=JOB,
        owner="me",
        created_at=utc_now(),
        concepts=tuple(Concept(name=concept.name) for concept in load("collage")[:200]),
        captions=2 * UNITS * PER_UNIT,  # half of them: the end of a job has requests of its own
        captions_per_unit=PER_UNIT,
        images_per_caption=4,
        render=RenderSettings(size=32),
    )
    store.create(layout.job(spec.job), spec.to_bytes())
    store.create(layout.active(spec.job), b"{}")
    loop, metrics = LoopThread(), RenderMetrics()
    caption = CaptionWork(
        store=store,
        board=farm.board,
        dispatcher=farm.dispatch,
        generator=FakeGenerator(_text),
        loop=loop,
        pools=load_pools(),
        faults=Faults(),
    )
    drawer = UnitDrawer(threads=1, batch=None, metrics=metrics)
    renderer = FakeRenderer(size=32)
    render = UnitRenderer(
        store=store,
        board=farm.board,
        faults=Faults(),
        renderers=lambda settings, step: renderer,
        drawer=drawer,
        metrics=metrics,
        worker="w",
    )
    farm.work = {Stage.CAPTION: caption, Stage.RENDER: render.work}
    made = Counted(farm, store, spec, asked)
    farm.runner._specs.get(spec.job)
    farm.flags._ttl = 3_600_000  # else a slow machine asks for them again in the middle
    farm.flags.get(spec.job)  # as another process did a moment ago
    farm.tick()
    store.fault = note
    for stage in (Stage.CAPTION, Stage.RENDER):
        who[0] = f"{stage.value}-worker"
        tasks = [farm.pop_any() for _ in range(UNITS)]
        leases = [_run(farm, task) for task in tasks]
        assert leases.count("done") == UNITS
    who[0] = "feeder"
    yield made
    store.fault = None
    drawer.close()
    loop.close()


def _text(concept: str, seed: int) -> str:
    return text_of(f"{concept} =>", seed) + "\n"


def _run(farm: Farm, task: UnitTask | None) -> str:
    assert task is not None
    outcome = farm.runner.run(task, farm.work[task.stage])
    return "" if outcome is None else outcome.value


def test_each_process_asks_the_store_what_the_plan_says(counted: Counted) -> None:
    assert counted.of_a_unit("caption-worker") == footprint.CAPTION_WORKER
    assert counted.of_a_unit("render-worker") == footprint.RENDER_WORKER
    counted.farm.tick()
    # A pass lists active jobs, commits and dead letters; it wrote a part with its columns, and progress; and
    # it sent as many units again.
    asked = counted.asked["feeder"]
    assert asked == {"get": footprint.FEEDER_UNIT.get * UNITS, "list": 3, "put": 3}


def test_bytes_of_what_lies_in_the_store(counted: Counted) -> None:
    farm, store, job = counted.farm, counted.store, counted.spec.job
    farm.tick()
    groups, told = UNITS * PER_UNIT, footprint.BYTES
    captions = sum(info.size for info in store.list(f"{layout.job_prefix(job)}captions/"))
    assert captions / groups == pytest.approx(told.captions, rel=0.05)
    commits = sum(info.size for info in store.list(layout.commits_prefix(job)))
    assert commits == pytest.approx(UNITS * told.commit + groups * told.group, rel=0.05)
    part = recall_part(store, job, 1, 0)
    assert len(store.get(part.key)) / UNITS == pytest.approx(told.line, rel=0.05)
    assert len(part.to_bytes()) == pytest.approx(told.part, rel=0.05)
    assert part.columns is not None
    columns = read_columns(store, part.columns)[0]
    sizes = {name: len(column.data) for name, column in columns.items() if not name.startswith("names.")}
    of_units = {name: size for name, size in sizes.items() if name.startswith("unit.")}
    # Beside what is here: a second byte for more than 256 concepts, and the score `second` of richer prompts.
    assert (sum(sizes.values()) - sum(of_units.values())) / groups == told.columns_group - 1 - 8
    assert sum(of_units.values()) / UNITS == told.columns_unit
    needed = {name: size for name, size in sizes.items() if name in _NEEDED}
    assert sum(size for name, size in needed.items() if name in of_units) / UNITS == told.read_unit
    assert sum(size for name, size in needed.items() if name not in of_units) / groups == told.read_group - 1


def test_what_a_unit_in_flight_takes_of_a_real_redis(new_farm: Callable[..., Farm]) -> None:
    farm, many = new_farm(), 400
    spec = farm.submit(captions=4 * 4096)
    job = spec.job
    farm.board.seed(job, "e", watermark=0, frontier=0, counts=Counts(), draws=0, rejections={})
    for unit in range(many):
        farm.dispatch.send(spec, unit, Stage.CAPTION)
        farm.dispatch.send(spec, unit, Stage.RENDER)
    of_job = [farm.keys.sent(job), farm.keys.sends(job)]
    sent = farm.board.flight.sent(job)
    waiting = _memory(farm, [*of_job, farm.keys.queue(sent[0].queue)]) / many
    assert waiting == pytest.approx(footprint.REDIS_UNIT, rel=0.1)
    for unit, of in sent.items():
        task = UnitTask(job=job, unit=unit, stage=of.stage, queue=of.queue, sequence=of.sequence)
        assert farm.leases.claim(task) is not None
    leases = [farm.keys.lease(job, unit, Stage.RENDER.value) for unit in range(many)]
    assert _memory(farm, [*of_job, farm.keys.claims(job), *leases]) / many == pytest.approx(
        footprint.REDIS_CLAIMED, rel=0.1
    )
    for unit in (*range(0, 4096, 256), 4095):
        farm.board.mark_written(job, unit, 1, 1, {})
        farm.board.mark_dead(job, unit)
        farm.board.mark_committed(job, unit, Counts())
    bits = [farm.keys.bits(job, kind, 0) for kind in ("written", "dead", "committed")]
    assert 3 * 4096 / 8 < _memory(farm, bits) <= footprint.REDIS_FAN


def _memory(farm: Farm, keys: list[str]) -> int:
    redis: Any = farm.redis
    return sum(int(redis.memory_usage(key, samples=0)) for key in keys)


def test_a_render_worker_reads_ahead_what_others_draw() -> None:
    """One of very many: what it sees waiting is never its own."""
    gets, store, first = 0, MemoryStore(), 0

    def count(operation: str, key: str) -> None:
        nonlocal gets
        gets += operation == "get" and key.endswith(".jsonl")

    def task(unit: int) -> UnitTask:
        return UnitTask(job=JOB, unit=unit, stage=Stage.RENDER, queue="render.sd15-m.normal", sequence=unit)

    for unit in range(500):
        store.create(layout.captions(JOB, unit), b"x")
    store.fault = count
    prefetch = CaptionPrefetch(store, SpecCache(store), lambda most: [task(first + seen) for seen in range(most)])
    units = 41
    for number in range(units):
        first = 10 * number
        prefetch.look()
        prefetch.captions(task(first + 9))
    at_first = 4
    assert (gets - units - at_first) / (units - 1) == footprint.PREFETCH_MISSED


def test_the_window_is_the_feeders() -> None:
    rules = FeederSettings()
    assert (
        rules.window_per_slot,
        rules.window_min,
        rules.window_max,
        rules.span,
    ) == (PER_SLOT, WINDOW_MIN, WINDOW_MAX, SPAN)
    assert (rules.pass_seconds, rules.reads_per_pass, rules.readers) == (PASS_SECONDS, READS, READERS)
    assert WorkerSettings.model_fields["units"].default == CAPTION_SLOTS
