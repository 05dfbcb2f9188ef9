"""News of ranks elsewhere: what a store that goes away in between kept back is told when it is there again."""

from __future__ import annotations

from typing import Any

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import DatasetRef
from synfarm.contracts.segments import RunSegment, SegmentDataset, SegmentStream
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable
from synfarm_trainer.api.live import LiveRun
from synfarm_trainer.api.metrics_parts import MetricsParts
from synfarm_trainer.api.records import RunRecords, new_ulid
from synfarm_trainer.api.store_tail import StoreTail


def test_an_evaluation_that_could_not_be_read_is_told_later() -> None:
    run, store = new_ulid(), MemoryStore()
    records = RunRecords(store)
    key = layout.eval_record(run, 20, "knn.json")
    store.put(key, b'{"top1": 0.25}')
    tail = StoreTail(records, MetricsParts(store), run, records.open_attempt(run).number, 0.0)

    def away(operation: str, asked: str) -> None:
        if operation == "get" and asked == key:
            raise StoreUnavailable("away")

    store.fault = away
    assert tail.read() == []
    store.fault = None
    (line,) = tail.read()
    assert (line.type, line.data) == ("eval", {"top1": 0.25, "step": 20, "name": "knn"})
    assert tail.read() == []


def test_what_comes_just_before_the_end_is_told() -> None:
    run, store = new_ulid(), MemoryStore()
    records = RunRecords(store)
    tail = StoreTail(records, MetricsParts(store), run, records.open_attempt(run).number, 3600.0)
    assert tail.read(last=True) == []
    store.put(layout.eval_record(run, 20, "knn.json"), b'{"top1": 0.25}')
    assert tail.read() == [], "the last look was just now"
    assert [line.type for line in tail.read(last=True)] == ["eval"]


def test_a_malformed_record_is_no_news_and_no_fault_of_the_run() -> None:
    run, store = new_ulid(), MemoryStore()
    records = RunRecords(store)
    tail = StoreTail(records, MetricsParts(store), run, records.open_attempt(run).number, 0.0)
    store.put(layout.eval_record(run, 20, "knn.json"), b"[1]")
    store.put(layout.eval_record(run, 20, "linear.json"), b"{")
    store.put(f"runs/{run}/evals/x/knn.json", b"{}")
    store.put(layout.checkpoint_commit(run, 20, 0), b"{")
    store.put(f"runs/{run}/checkpoints/notes.txt", b"mine")
    store.put(layout.attempt(run, 1), b"{")
    store.put(layout.eval_record(run, 30, "knn.json"), b'{"top1": 0.5}')
    assert [(line.type, line.data["step"]) for line in tail.read()] == [("eval", 30)]
    assert tail.read() == []


def test_a_checkpoint_is_told_with_its_facts(service: Any) -> None:
    run, records = new_ulid(), RunRecords(service.store)
    tail = StoreTail(records, MetricsParts(service.store), run, records.open_attempt(run).number, 0.0)
    service.checkpoint(run, 20, 0)
    (line,) = tail.read()
    assert (line.type, line.data["step"], line.data["bytes"]) == ("checkpoint", 20, 1)
    live = LiveRun()
    live.fold(line)
    assert live.now.checkpoint is not None


def test_segments_of_this_start_and_its_successors_are_told_once(write_run: Any) -> None:
    run, store = new_ulid(), MemoryStore()
    records = RunRecords(store)
    ref = DatasetRef(job=new_ulid(), generation=1, manifest_sha256="0" * 64)
    write_run(store, ref, run=run, overrides={"data.captions_per_batch": 8})
    for number, (attempt, why, position) in enumerate(
        [(0, "begun", 0), (0, "adopted", 16), (1, "started", 16), (1, "adopted", 48), (2, "adopted", 84)]
    ):
        if number == 2:
            records.open_attempt(run)
            tail = StoreTail(records, MetricsParts(store), run, records.open_attempt(run).number, 0.0)
            assert tail.read() == []
        segment = RunSegment(
            run=run,
            number=number,
            attempt=attempt,
            token=new_ulid(),
            why=why,
            position=position,
            datasets=(SegmentDataset(job=ref.job, generation=1, parts=2, manifest_sha256="0" * 64, complete=False),),
            streams=(SegmentStream(datasets=(0,), weight=1, groups=8, epoch=0, offset=0),),
            at=utc_now(),
        )
        store.put(layout.segment(run, number), segment.to_bytes())
    store.put(f"runs/{run}/segments/notes.txt", b"mine")
    told = [(line.type, line.data) for line in tail.read()]
    datasets = [{"job": ref.job, "generation": 1, "parts": 2}]
    assert told == [
        ("segment", {"step": 6, "segment": 3, "position": 48, "datasets": datasets}),
        ("segment", {"step": 10, "segment": 4, "position": 84, "datasets": datasets}),
    ]
    assert tail.read() == []
