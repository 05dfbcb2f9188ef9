"""Sinks beside a run: they get every record, and whatever happens to one hurts neither the run nor the others."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunSpec
from synfarm_trainer.journal import Journal
from synfarm_trainer.sinks.fan_out import Sinks
from synfarm_trainer.sinks.opening import SinkSettings, open_sinks
from synfarm_trainer.sinks.protocol import RecordKind, RunOpening, Sink
from synfarm_trainer.sinks.scalars import scalars

Record = tuple[RecordKind, Mapping[str, Any]]
RUN = "01k" + "0" * 23


class Notebook:
    """A sink that keeps what it is told."""

    def __init__(self, opening: RunOpening) -> None:
        self.opening, self.closed = opening, False
        self.records: list[Record] = []

    def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
        self.records.append((kind, data))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opening() -> RunOpening:
    spec = RunSpec.model_validate(
        {
            "run": RUN,
            "owner": "ada",
            "created_at": utc_now(),
            "name": "r",
            "preset": "tiny",
            "datasets": [{"job": RUN, "generation": 1, "manifest_sha256": "0" * 64}],
            "seed": 0,
            "ranks": 1,
            "config": {"schedule": {"steps": 3}},
        }
    )
    return RunOpening(spec, 0, 0, 3)


def test_every_sink_gets_every_record_in_order(opening: RunOpening) -> None:
    books: list[Notebook] = []

    def open_book(of: RunOpening) -> Sink:
        books.append(Notebook(of))
        return books[-1]

    sinks = Sinks({"one": open_book, "two": open_book})
    sinks.begin(opening)
    told: list[Record] = [("step", {"step": step}) for step in range(1, 4)]
    for record in told:
        sinks.write(*record)
    assert sinks.close(60)
    assert [(book.records, book.closed, book.opening) for book in books] == [(told, True, opening)] * 2
    assert sinks.news() == {}


@pytest.mark.parametrize("where", ["open", "write", "close"])
def test_a_sink_that_fails_is_off_with_one_warning_and_the_others_go_on(opening: RunOpening, where: str) -> None:
    class Broken(Notebook):
        def __init__(self, of: RunOpening) -> None:
            super().__init__(of)
            self._fail("open")

        def _fail(self, here: str) -> None:
            if here == where:
                raise RuntimeError("no network")

        def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
            self._fail("write")

        def close(self) -> None:
            self._fail("close")

    book = Notebook(opening)
    with capture_logs() as logs:
        sinks = Sinks({"broken": Broken, "good": lambda of: book})
        sinks.begin(opening)
        for step in range(1, 4):
            sinks.write("step", {"step": step})
        assert not sinks.close(60), "its library may still have something to wait for at exit"
    assert len(book.records) == 3
    assert sinks.news() == {"broken": "RuntimeError: no network"}
    assert sinks.news() == {}, "told once"
    assert [(line["event"], line["sink"]) for line in logs] == [("sink_off", "broken")]


def test_a_sink_that_hangs_holds_nobody_up(opening: RunOpening) -> None:
    go = threading.Event()

    class Hanging(Notebook):
        def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
            go.wait()

    sinks = Sinks({"hanging": Hanging}, room=5)
    sinks.begin(opening)
    for step in range(1, 50):
        sinks.write("step", {"step": step})
    assert sinks.news() == {"hanging": "it does not keep up: 5 records wait"}
    assert not sinks.close(0.01)
    go.set()
    assert not sinks.close(60)
    assert not any(thread.name == "sink-hanging" for thread in threading.enumerate())


def test_the_journal_is_a_sink_too(tmp_path: Any) -> None:
    sink: Sink = Journal(tmp_path / "journal.jsonl")
    sink.write("state", {"state": "running"})
    sink.close()
    assert (tmp_path / "journal.jsonl").read_text().count("\n") == 1


def test_settings_name_sinks_and_refuse_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert SinkSettings().sinks == ()
    monkeypatch.setenv("SYNFARM_TRAINER_SINKS", "tensorboard, wandb")
    assert SinkSettings().sinks == ("tensorboard", "wandb")
    assert open_sinks(SinkSettings(), tmp_path).close()
    monkeypatch.setenv("SYNFARM_TRAINER_SINKS", "tensorbored")
    with pytest.raises(ValueError, match="tensorboard"):
        SinkSettings()
    monkeypatch.setenv("SYNFARM_TRAINER_SINKS", "status")
    with pytest.raises(ValueError, match="SYNFARM_TRAINER_STATUS_URL"):
        SinkSettings()


def test_records_as_numbers() -> None:
    data = {
        "step": 7,
        "epoch": 0.5,
        "losses": {"total": 2.0},
        "mfu": None,
        "images_per_second": 10.0,
        "monitors": {"key_spread": 0.9},
    }
    assert scalars("step", data) == (
        7,
        {"loss/total": 2.0, "schedule/epoch": 0.5, "speed/images_per_second": 10.0, "monitor/key_spread": 0.9},
    )
    knn = {"name": "knn", "step": 20, "top1": 0.5, "standard_error": 0.01, "classes": 48, "floors": {}}
    assert scalars("eval", knn) == (20, {"eval/knn/top1": 0.5, "eval/knn/standard_error": 0.01})
    assert scalars("checkpoint", {"step": 5, "attempt": 0}) is None
    saved = {"step": 5, "attempt": 0, "bytes": 900, "stall_seconds": 0.5, "upload_seconds": None}
    assert scalars("checkpoint", saved) == (5, {"checkpoint/bytes": 900.0, "checkpoint/stall_seconds": 0.5})
    assert scalars("state", {"state": "running", "step": 3}) is None
