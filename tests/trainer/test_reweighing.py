"""A user's change of the weights of a run: what holds from which caption on, also across kills."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.mixing import MixChange
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.segment_records import read_segments
from synfarm_trainer.session import Session, Start

sys.path.insert(0, str(Path(__file__).parent))
from growing_job import GrowingJob

RUN, OTHER_RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1", "01hzzzzzzzzzzzzzzzzzzzzzz3"
JOB, SECOND = "01hzzzzzzzzzzzzzzzzzzzzzz0", "01hzzzzzzzzzzzzzzzzzzzzzz9"
QUICK: dict[str, object] = {
    "data.captions_per_batch": 8,
    "schedule.steps": 12,
    "checkpoint.every_steps": 4,
    "eval.knn": False,
    "eval.patch_pca": False,
}
Train = Callable[..., Session]


class KilledAt(Faults):
    def __init__(self, step: int | None) -> None:
        super().__init__()
        self._step = step

    def reach(self, point: str, unit: int | None = None) -> None:
        if point == "train.step" and unit == self._step:
            raise RuntimeError("killed")


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def train(store: MemoryStore, tmp_path: Path, open_attempt) -> Train:
    def one(attempt: int, resumed: int, *, run: str = RUN, killed_at: int | None = None) -> Session:
        open_attempt(store, attempt, run=run, resumed_step=resumed)
        session = Session(store, Start(run, attempt, tmp_path), Ranks(), KilledAt(killed_at), lambda: False)
        try:
            if killed_at is None:
                session.train()
            else:
                with pytest.raises(RuntimeError, match="killed"):
                    session.train()
        finally:
            session.close()
        return session

    return one


@pytest.fixture
def journal(tmp_path: Path) -> Callable[..., list[dict]]:
    def read(kind: str, attempt: int, run: str = RUN) -> list[dict]:
        text = (tmp_path / "runs" / run / f"journal-{attempt:06d}.jsonl").read_text()
        return [line["data"] for line in map(json.loads, text.splitlines()) if line["type"] == kind]

    return read


@pytest.fixture
def losses(journal) -> Callable[..., dict[int, tuple[str, str]]]:
    def read(attempt: int, run: str = RUN) -> dict[int, tuple[str, str]]:
        return {line["step"]: (line["loss_hex"], line["batch_sha256"]) for line in journal("step", attempt, run)}

    return read


def change(store: MemoryStore, *weights: int, number: int = 0, run: str = RUN) -> None:
    asked = MixChange(run=run, number=number, weights=weights, by="ada", at=utc_now())
    assert store.create(layout.mix_change(run, number), asked.to_bytes())


def drawn(session: Session, first: int, last: int) -> Counter[str]:
    rows = [row for step in range(first, last) for row in session._plan.batch(step).tolist()]
    return Counter(session._dataset.rows[row].caption_id[:26] for row in rows)


@pytest.fixture
def two_jobs(store: MemoryStore, write_dataset, write_run) -> None:
    datasets = (write_dataset(store, captions=48), write_dataset(store, captions=32, job=SECOND))
    for run in (RUN, OTHER_RUN):
        write_run(store, datasets[0], run=run, datasets=datasets, weights=(3, 1), overrides=QUICK)


def test_other_weights_hold_from_the_step_that_a_start_resumes_from(
    store, two_jobs, train: Train, losses, journal
) -> None:
    train(0, 0, killed_at=7)
    change(store, 1, 3)
    session = train(1, 4)
    assert (drawn(session, 0, 4), drawn(session, 4, 12)) == ({JOB: 24, SECOND: 8}, {JOB: 16, SECOND: 48})
    told = [(s.why, s.position, s.change, [t.weight for t in s.streams]) for s in read_segments(store, RUN)]
    assert told == [
        ("begun", 0, None, [3, 1]),
        ("started", 0, None, [3, 1]),
        ("reweighed", 32, 0, [1, 3]),
    ]
    (event,) = journal("segment", 1)
    assert (event["step"], event["position"], event["weights"]) == (4, 32, [1, 3])
    names = [session._dataset.rows[row].caption_id for step in range(12) for row in session._plan.batch(step).tolist()]
    for job, stream in zip((JOB, SECOND), read_segments(store, RUN)[-1].streams, strict=True):
        mine = [name for name in names if name.startswith(job)]
        assert len(mine) > stream.groups
        assert len(set(mine[: stream.groups])) == stream.groups, "no epoch begins anew"
    train(0, 0, run=OTHER_RUN)
    before = losses(0, OTHER_RUN)
    assert {step: losses(1)[step] for step in (5,)} != {step: before[step] for step in (5,)}
    assert {step: losses(0)[step] for step in range(1, 5)} == {step: before[step] for step in range(1, 5)}


def test_a_change_is_taken_in_once_and_goes_on_as_it_would_have(store, two_jobs, train: Train, losses) -> None:
    train(0, 0, killed_at=5)
    change(store, 1, 3)
    train(1, 4, killed_at=11)
    unbroken = train(2, 8)
    again = losses(1)
    train(3, 12)
    assert [s.why for s in read_segments(store, RUN)] == ["begun", "started", "reweighed", "started", "started"]
    assert {step: losses(2)[step] for step in (9, 10)} == {step: again[step] for step in (9, 10)}
    assert drawn(unbroken, 4, 12) == {JOB: 16, SECOND: 48}


def test_the_newest_of_several_changes_holds(store, two_jobs, train: Train) -> None:
    train(0, 0, killed_at=5)
    change(store, 1, 3)
    change(store, 1, 1, number=1)
    session = train(1, 4)
    assert [s.change for s in read_segments(store, RUN)] == [None, None, 1]
    assert drawn(session, 4, 12) == {JOB: 32, SECOND: 32}


def test_a_checkpoint_that_is_lost_afterwards_leaves_the_change_where_it_is(store, two_jobs, train: Train) -> None:
    """The start resumes earlier than its record says: up to the change, the steps are as they were."""
    train(0, 0, killed_at=9)
    change(store, 1, 3)
    for key in [info.key for info in store.list(layout.checkpoint_prefix(RUN, 8, 0))]:
        store.delete(key)
    session = train(1, 8)
    assert session.step == 12
    assert (drawn(session, 4, 8), drawn(session, 8, 12)) == ({JOB: 24, SECOND: 8}, {JOB: 8, SECOND: 24})


@pytest.mark.parametrize(("saved", "adopted_at"), [(2, 16), (1, 24)])
def test_what_has_come_is_taken_in_where_an_epoch_ended_though_a_change_begins_there(
    store, write_dataset, write_run, train: Train, saved: int, adopted_at: int
) -> None:
    """An epoch of the growing job, eight captions, ends after sixteen; the start before had looked there in vain."""
    growing = GrowingJob.write(store, write_dataset, SECOND)
    growing.grow()
    refs = (write_dataset(store, captions=48), growing.ref)
    overrides = {**QUICK, "checkpoint.every_steps": saved, "schedule.steps": 5}
    write_run(store, refs[0], datasets=refs, weights=(1, 1), follow=True, overrides=overrides)
    train(0, 0, killed_at=saved + 1)
    growing.end()
    change(store, 3, 1)
    session = train(1, saved)
    changed, adopted = read_segments(store, RUN)[2:]
    assert [(s.why, s.position) for s in (changed, adopted)] == [("reweighed", 8 * saved), ("adopted", adopted_at)]
    assert [stream.offset == 0 for stream in changed.streams] == [False, saved == 2]
    rows = [row for step in range(5) for row in session._plan.batch(step).tolist()]
    names = [session._dataset.rows[row].caption_id for row in rows]
    first = [name for name in names[:adopted_at] if name.startswith(SECOND)]
    assert len(set(first)) == 8, "what has come is in no batch before"
    later = [name for name in names[adopted_at:] if name.startswith(SECOND)]
    assert set(later) - set(first)
