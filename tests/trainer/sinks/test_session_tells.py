"""A session tells its sinks what it tells its journal, and goes on without one that fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synfarm.contracts.runs import StepMetrics
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start
from synfarm_trainer.sinks.fan_out import Sinks
from synfarm_trainer.sinks.protocol import RecordKind, RunOpening, Sink

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"


class _Book:
    def __init__(self) -> None:
        self.records: list[tuple[str, Mapping[str, Any]]] = []

    def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
        self.records.append((kind, data))

    def close(self) -> None:
        pass


def test_every_record_and_a_failure_in_the_journal(
    tmp_path: Path, write_dataset: Any, write_run: Any, open_attempt: Any
) -> None:
    store, book, openings = MemoryStore(), _Book(), list[RunOpening]()

    def open_book(opening: RunOpening) -> Sink:
        openings.append(opening)
        return book

    def fail(opening: RunOpening) -> Sink:
        raise OSError("no network")

    class Patient(Faults):
        def reach(self, point: str, unit: int | None = None) -> None:
            for thread in threading.enumerate():
                if thread.name == "sink-broken":
                    thread.join(60)

    spec = write_run(
        store,
        write_dataset(store),
        overrides={"schedule.steps": 3, "schedule.warmup_steps": 1, "eval.knn": False, "eval.patch_pca": False},
    )
    open_attempt(store, 0)
    sinks = Sinks({"book": open_book, "broken": fail})
    session = Session(store, Start(RUN, 0, tmp_path), Ranks(), Patient(), lambda: False, sinks)
    try:
        assert session.train() == "completed"
    finally:
        session.close()
    sinks.close(60)
    lines = [json.loads(line) for line in (tmp_path / "runs" / RUN / "journal-000000.jsonl").read_text().splitlines()]
    assert [(line["type"], line["data"]) for line in lines] == [(kind, dict(data)) for kind, data in book.records]
    steps = [StepMetrics.model_validate(data) for kind, data in book.records if kind == "step"]
    assert [step.step for step in steps] == [1, 2, 3]
    for step in steps:
        assert set(step.split) == {"data", "between", "gradients", "update"}
        assert sum(step.split.values()) <= step.seconds + 1e-6
    told = [line["data"]["sink_off"] for line in lines if "sink_off" in line["data"]]
    assert told == [{"sink": "broken", "why": "OSError: no network"}]
    assert openings == [RunOpening(spec, 0, 0, 3)]
