"""One unit from captions to commit, on the in-memory store: what is written, in which order, and what a loser does."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from redis.exceptions import RedisError
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, DropReason, write_jsonl
from synfarm.contracts.commits import Commit, SampleMeta
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec, RenderSettings
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.faults import FaultInjected, Faults
from synfarm.queue.lease import Lease, UnitInterrupted
from synfarm.queue.unit import UnitFault
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable
from synfarm.storage.shard_reader import open_group
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.drawing import UnitDrawer
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.renderer import (
    FakeRenderer,
    ImageRequest,
    Renderer,
    Spent,
    image_seed,
)
from synfarm_render_worker.rendering import UnitRenderer

JOB = "01jd00000000000000000000aa"
TASK = UnitTask(job=JOB, unit=1, stage=Stage.RENDER, queue="render.collage-s.normal", sequence=0)
SPEC = JobSpec(
    job=JOB,
    owner="me",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    concepts=(Concept(name="dog"), Concept(name="car")),
    captions=10,
    captions_per_unit=4,
    images_per_caption=3,
    seed=5,
    render=RenderSettings(size=32),
)
TEXTS = ("a small dog on a beach", None, "two red cars", "a car behind a dog")


def records(texts: Sequence[str | None] = TEXTS, *, concept: str = "dog", start: int = 4) -> list[CaptionRecord]:
    return [
        CaptionRecord(
            caption_id=caption_id(JOB, start + i),
            index=start + i,
            concept=concept,
            text=text,
            empty_reason=None if text else DropReason.REPEATS,
            draws=1,
            llm_seed=0,
            llm_model="m",
            scores={"near0": float(start + i)} if text else {},
        )
        for i, text in enumerate(texts)
    ]


class FakeBoard:
    """Takes marks; may be away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away, self.marked = away, list[Commit]()

    def mark_commit(self, commit: Commit) -> bool:
        if self.away:
            raise RedisError("away")
        self.marked.append(commit)
        return True


class Bench:
    """A worker's parts around one store."""

    def __init__(self, store: Any = None, *, renderer: Renderer | None = None, batch: int | None = None) -> None:
        self.store: Any = store if store is not None else MemoryStore()
        self.renderer: Renderer = renderer or FakeRenderer()
        self.board, self.metrics = FakeBoard(), RenderMetrics()
        self.batch = batch
        if store is None:
            self.store.put(layout.captions(JOB, 1), write_jsonl(records()))

    def work(self, *, faults: str = "", lease: Lease | None = None, spec: JobSpec = SPEC) -> None:
        drawer = UnitDrawer(threads=2, batch=self.batch, metrics=self.metrics)
        unit = UnitRenderer(
            store=self.store,
            board=self.board,  # type: ignore[arg-type]
            faults=Faults(faults),
            renderers=lambda render, step: self.renderer,
            drawer=drawer,
            metrics=self.metrics,
            worker="w",
        )
        try:
            unit.work(spec, TASK, lease or Lease(str(ULID()).lower())).run()
        finally:
            drawer.close()

    @property
    def commit(self) -> Commit:
        return Commit.from_bytes(self.store.get(layout.commit(JOB, 1)))

    def keys(self, folder: str) -> list[str]:
        return [info.key for info in self.store.list(f"jobs/{JOB}/{folder}/")]


def test_commit_names_what_lies_in_the_shard() -> None:
    bench = Bench(renderer=CollageRenderer(SPEC.render))
    bench.work()
    commit = bench.commit
    assert commit.shard is not None
    data = bench.store.get(commit.shard.key)
    assert hashlib.sha256(data).hexdigest() == commit.shard.sha256
    assert commit.shard.key.endswith(f"-{commit.shard.sha256[:12]}.tar")
    assert [row.index for row in commit.groups] == [4, 6, 7]
    assert [row.scores for row in commit.groups] == [{"near0": 4.0}, {"near0": 6.0}, {"near0": 7.0}]
    assert [(slot.index, slot.reason) for slot in commit.empty] == [(5, DropReason.REPEATS)]
    assert commit.captions_sha256 == hashlib.sha256(write_jsonl(records())).hexdigest()
    assert commit.images == 9
    assert {"render", "encode", "upload", "total"} <= set(commit.timings)
    for row in commit.groups:
        group = open_group(data, row)
        meta = SampleMeta.from_bytes(group.meta_json)
        assert meta.seeds == tuple(image_seed(SPEC.seed, JOB, row.index, k) for k in range(3))
        assert meta.caption == TEXTS[row.index - 4]
        assert len(meta.scenes) == 3
        drawn = bench.renderer.render([ImageRequest(meta.caption, seed) for seed in meta.seeds])
        for file, image in zip(group.images, drawn, strict=True):
            stored = np.asarray(Image.open(io.BytesIO(file))).astype(int)
            assert np.abs(stored - image.pixels).mean() < 8
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames()[:4] == [f"{caption_id(JOB, 4)}.{end}" for end in ("0.jpg", "1.jpg", "2.jpg", "json")]
    assert [marked.attempt for marked in bench.board.marked] == [commit.attempt]


@pytest.mark.parametrize("batches", [(1, 7), (2, 64)])
def test_any_batch_gives_the_same_tar(batches: tuple[int, int]) -> None:
    """Pitfall 40: noise belongs to caption and image, not to the place in a batch."""
    benches = [Bench(renderer=CollageRenderer(SPEC.render), batch=batch) for batch in batches]
    for bench in benches:
        bench.work()
    one, other = (bench.commit.shard for bench in benches)
    assert one == other


def test_a_wrong_concept_field_changes_no_pixel() -> None:
    files = []
    for concept in ("dog", "airplane"):
        bench = Bench(renderer=CollageRenderer(SPEC.render))
        bench.store.put(layout.captions(JOB, 1), write_jsonl(records(concept=concept)))
        bench.work()
        assert bench.commit.shard is not None
        data = bench.store.get(bench.commit.shard.key)
        files.append([open_group(data, row).images for row in bench.commit.groups])
    assert files[0] == files[1]


def test_two_workers_at_once_give_one_commit_and_one_shard() -> None:
    first = Bench()
    second = Bench(first.store)
    meet = threading.Barrier(2)

    def at_once(operation: str, key: str) -> None:
        if operation == "create":
            meet.wait(10)

    first.store.fault = at_once
    threads = [threading.Thread(target=bench.work) for bench in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.store.fault = None
    commit = first.commit
    assert commit.shard is not None
    assert first.keys("shards") == [commit.shard.key]
    lost = [bench.metrics.registry.get_sample_value("synfarm_render_lost_commits_total") for bench in (first, second)]
    assert sorted(x or 0 for x in lost) == [0, 1]
    assert {m.attempt for bench in (first, second) for m in bench.board.marked} == {commit.attempt}


def test_the_loser_deletes_nothing_and_marks_the_winner() -> None:
    first = Bench()
    first.work()
    winner = first.commit
    second = Bench(first.store, renderer=FakeRenderer(name="collage", batch_hint=2))
    other_seed = SPEC.model_copy(update={"seed": 6})
    second.work(spec=other_seed)
    assert second.commit == winner
    assert len(second.keys("shards")) == 2
    assert second.board.marked == [winner]


@pytest.mark.parametrize(
    ("point", "shards", "commits"),
    [("before_upload", 0, 0), ("after_upload", 1, 0), ("before_commit", 1, 0), ("after_commit", 1, 1)],
)
def test_a_fall_at_each_step_leaves_nothing_half_visible(tmp_path: Path, point: str, shards: int, commits: int) -> None:
    bench = Bench()
    with pytest.raises(FaultInjected):
        bench.work(faults=f"render.{point}:unit=1:raise:{tmp_path}/marker")
    assert (len(bench.keys("shards")), len(bench.keys("commits"))) == (shards, commits)
    bench.work()
    assert (len(bench.keys("shards")), len(bench.keys("commits"))) == (1, 1)


def test_an_upload_that_did_not_arrive_whole_is_no_commit() -> None:
    class Shortening(MemoryStore):
        def put(self, key: str, data: bytes | memoryview, *, content_type: str = "application/octet-stream") -> Any:
            return super().put(key, data[:-1] if key.endswith(".tar") else data, content_type=content_type)

    store = Shortening()
    store.put(layout.captions(JOB, 1), write_jsonl(records()))
    bench = Bench(store)
    with pytest.raises(StoreUnavailable, match="bytes were uploaded, the store shows"):
        bench.work()
    assert bench.keys("commits") == []


def test_a_tombstone_seen_right_before_the_commit_stops_it() -> None:
    bench = Bench()

    def buried(operation: str, key: str) -> None:
        if operation == "put" and key.endswith(".tar"):
            bench.store.fault = None
            bench.store.put(layout.tombstone(JOB), b"{}")

    bench.store.fault = buried
    with pytest.raises(UnitInterrupted, match="deleted"):
        bench.work()
    assert bench.keys("commits") == []


def test_all_slots_empty_commits_without_a_shard() -> None:
    bench = Bench()
    bench.store.put(layout.captions(JOB, 1), write_jsonl(records([None] * 4)))
    bench.work()
    assert bench.commit.shard is None
    assert len(bench.commit.empty) == 4
    assert bench.keys("shards") == []


def test_redis_away_after_the_commit_is_no_failure() -> None:
    bench = Bench()
    bench.board.away = True
    bench.work()
    assert bench.commit.shard is not None


def test_missing_or_foreign_captions_are_unit_faults() -> None:
    with pytest.raises(UnitFault, match="unit 1 has no captions object"):
        Bench(MemoryStore()).work()
    bench = Bench()
    bench.store.put(layout.captions(JOB, 1), write_jsonl(records(start=0)))
    with pytest.raises(UnitFault, match=f"line 1: it holds caption {caption_id(JOB, 0)}"):
        bench.work()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data.replace(b"two red cars", b"two \xff cars"), r"line 3: byte \d+ is no UTF-8"),
        (lambda data: data[:-40], "line 4: Invalid JSON: EOF"),
        (lambda data: data[: data.index(b"\n") + 1], "line 2: the object has 1 lines, the plan 4"),
        (lambda data: data.replace(b'"index":6', b'"index":7'), f"line 3: it holds caption {caption_id(JOB, 6)}"),
        (lambda data: data.replace(b'"draws":1', b'"draws":-1'), "line 1: draws: Input should be greater"),
        (lambda data: data + data.splitlines(keepends=True)[-1], "line 5: the object has 5 lines, the plan 4"),
        (lambda data: b"", "line 1: the object has 0 lines, the plan 4"),
    ],
)
def test_damaged_captions_name_object_line_and_cure(damage: Any, told: str) -> None:
    bench = Bench()
    bench.store.put(layout.captions(JOB, 1), damage(write_jsonl(records())))
    with pytest.raises(UnitFault, match=f"captions: {layout.captions(JOB, 1)}, {told}.* Delete that object and retry"):
        bench.work()
    assert bench.keys("shards") == []


def test_what_a_model_spent_stands_in_the_commit_and_in_the_metrics() -> None:
    spendings = [Spent(images=99, denoise=99), Spent(9, 0.09, 3.0, 6, 0.9, 2)]

    class Modelled(FakeRenderer):
        def spent(self) -> Spent:
            return spendings.pop(0)

    bench = Bench(renderer=Modelled(), batch=5)
    bench.work()
    wanted = {"batch": 5.0, "denoise_ms_per_step": 500.0, "vae_ms": 100.0, "text_ms": 10.0, "truncated": 2.0}
    assert bench.commit.measures == wanted, "and nothing of a unit that was let go"
    assert bench.metrics.registry.get_sample_value("synfarm_render_denoise_seconds_total") == 3.0
    assert bench.metrics.registry.get_sample_value("synfarm_render_truncated_captions_total") == 2.0
    assert 0 < bench.commit.timings["cost"] <= bench.commit.timings["total"]
    plain = Bench()
    plain.work()
    assert plain.commit.measures == {}
