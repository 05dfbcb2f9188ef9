"""Runs over several jobs by weights, and over jobs that still grow: whole runs over an in-memory store."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from synfarm.contracts import layout
from synfarm.contracts.runs import DatasetRef
from synfarm.contracts.segments import RunSegment
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.checkpoint import Fenced
from synfarm_trainer.data.manifest import DatasetInvalid
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
    "eval.knn": False,
    "eval.patch_pca": False,
}


class Hook(Faults):
    def __init__(self, action: Callable[[int], None]) -> None:
        super().__init__()
        self._action = action

    def reach(self, point: str, unit: int | None = None) -> None:
        self._action(unit or 0)


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


class Runs:
    """Starts of runs over one store."""

    def __init__(self, store: ObjectStore, folder: Path, open_attempt: Callable[..., object]) -> None:
        self.store, self.folder, self._open_attempt = store, folder, open_attempt

    def begin(self, attempt: int = 0, *, run: str = RUN, action: Callable[[int], None] = lambda step: None) -> Session:
        self._open_attempt(self.store, attempt, run=run)
        return Session(self.store, Start(run, attempt, self.folder), Ranks(), Hook(action), lambda: False)

    def finish(self, *args: object, **kwargs: object) -> Session:
        session = self.begin(*args, **kwargs)  # type: ignore[arg-type]
        try:
            session.train()
        finally:
            session.close()
        return session

    def journal(self, kind: str, attempt: int = 0, run: str = RUN) -> list[dict]:
        path = self.folder / "runs" / run / f"journal-{attempt:06d}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [line["data"] for line in lines if line["type"] == kind]

    def losses(self, attempt: int = 0, run: str = RUN) -> dict[int, tuple[str, str]]:
        return {d["step"]: (d["loss_hex"], d["batch_sha256"]) for d in self.journal("step", attempt, run)}


@pytest.fixture
def runs(tmp_path: Path, open_attempt) -> Runs:
    return Runs(MemoryStore(), tmp_path, open_attempt)


@pytest.fixture
def growing(runs: Runs, write_dataset) -> GrowingJob:
    """64 captions in 4 parts, of which one is there: 16 captions, 8 of them of trained concepts."""
    job = GrowingJob.write(runs.store, write_dataset, JOB)
    job.grow()
    return job


def captions_of(session: Session, step: int) -> list[str]:
    rows = session._plan.batch(step).tolist()
    return [session._dataset.rows[row].caption_id for row in rows]


def test_two_jobs_by_weights_have_their_shares_and_epochs_of_their_own(runs: Runs, write_dataset, write_run) -> None:
    datasets = (write_dataset(runs.store, captions=48), write_dataset(runs.store, captions=32, job=SECOND))
    write_run(runs.store, datasets[0], datasets=datasets, weights=(3, 1), overrides=QUICK)
    session = runs.finish()
    had = Counter(name[:26] for step in range(12) for name in captions_of(session, step))
    assert had == {JOB: 72, SECOND: 24}
    small = [name for step in range(12) for name in captions_of(session, step) if name.startswith(SECOND)]
    assert len(set(small[:24])) == 24, "an epoch visits each of its 24 training captions once"
    assert [segment.why for segment in read_segments(runs.store, RUN)] == ["begun"]
    held = np.flatnonzero(session._plan.held)
    trained = {name for step in range(12) for name in captions_of(session, step)}
    assert not trained & {session._dataset.rows[row].caption_id for row in held}
    assert session._plan.passes(12) == pytest.approx(96 / (~session._plan.held).sum())


def test_a_mixture_goes_on_as_it_would_have(runs: Runs, write_dataset, write_run, every_term) -> None:
    datasets = (write_dataset(runs.store, captions=40), write_dataset(runs.store, captions=24, job=SECOND))
    overrides = {**every_term, **QUICK, "data.captions_per_batch": 9}
    for run in (RUN, OTHER_RUN):
        write_run(runs.store, datasets[0], run=run, datasets=datasets, weights=(7, 3), overrides=overrides)
    runs.finish(run=OTHER_RUN)
    with pytest.raises(RuntimeError, match="killed"):
        runs.finish(action=_kill_at(8))
    runs.finish(1)
    unbroken = runs.losses(run=OTHER_RUN)
    assert {**runs.losses(0), **runs.losses(1)} == unbroken
    assert min(runs.losses(1)) == 7
    assert [segment.why for segment in read_segments(runs.store, RUN)] == ["begun", "started"]


def test_more_of_a_job_in_a_batch_than_it_has_is_refused(runs: Runs, write_dataset, write_run) -> None:
    datasets = (write_dataset(runs.store, captions=48), write_dataset(runs.store, captions=8, job=SECOND))
    overrides = {**QUICK, "data.captions_per_batch": 24}
    write_run(runs.store, datasets[0], datasets=datasets, weights=(1, 3), overrides=overrides)
    with pytest.raises(ValueError, match=rf"^weights: a batch takes up to 19 captions of job {SECOND}"):
        runs.begin()


def _kill_at(step: int) -> Callable[[int], None]:
    def kill(reached: int) -> None:
        if reached == step:
            raise RuntimeError("killed")

    return kill


def test_what_is_rendered_meanwhile_is_taken_in_at_the_borders_of_epochs(runs: Runs, growing, write_run) -> None:
    write_run(runs.store, growing.ref, follow=True, overrides=QUICK)

    def render(step: int) -> None:
        if step == 2:
            growing.grow(2)
        if step == 5:
            growing.end()

    session = runs.finish(action=render)
    segments = read_segments(runs.store, RUN)
    assert [(s.why, s.datasets[0].parts, s.datasets[0].complete) for s in segments] == [
        ("begun", 1, False),
        ("adopted", 3, False),
        ("adopted", 4, True),
    ]
    assert [len(s.datasets[0].added) for s in segments] == [1, 2, 1]
    assert segments[-1].datasets[0].manifest_sha256 == growing.ref.manifest_sha256
    epochs = [s.streams[0].groups for s in segments]
    # Each addition holds out one caption of each of the eight concepts: 8 of 16, of 32 and of 16.
    assert epochs == [8, 32, 40]
    assert [s.position for s in segments] == [0, 16, 48]
    assert [(s.streams[0].epoch, s.streams[0].offset) for s in segments] == [(0, 0), (2, 0), (3, 0)]
    first = [name for step in range(2) for name in captions_of(session, step)]
    second = [name for step in range(2, 6) for name in captions_of(session, step)]
    assert Counter(first) == dict.fromkeys(set(first), 2)
    assert len(set(second)) == 32
    assert set(first) < set(second)
    told = runs.journal("segment")
    assert [(line["segment"], line["position"], line["step"], line["captions"]) for line in told] == [
        (1, 16, 2, 48),
        (2, 48, 6, 64),
    ]
    assert told[1]["datasets"] == [{"job": JOB, "generation": 1, "parts": 4}]
    assert sorted(runs.losses()) == list(range(1, 13))


def test_columns_that_follow_their_part_change_nothing(runs: Runs, growing, write_dataset, write_run) -> None:
    """A part that was adopted a moment before its columns were there is read by its commits, later starts take them."""
    late = GrowingJob.write(runs.store, write_dataset, SECOND)
    late.grow(columns=False)
    for job, run in ((growing, OTHER_RUN), (late, RUN)):
        write_run(runs.store, job.ref, run=run, follow=True, overrides=QUICK)
        job.add_columns()
        session = runs.begin(run=run)
        session.close()
        job.grow(columns=False)

        def render(step: int, job: GrowingJob = job) -> None:
            if step == 3:
                job.add_columns()
                job.end()

        session = runs.finish(1, run=run, action=render)
        segments = read_segments(runs.store, run)
        assert [s.datasets[0].parts for s in segments] == [1, 1, 2, 4]
        assert segments[-1].datasets[0].complete
        assert segments[2].datasets[0].added[0].columns is None
        assert segments[3].datasets[0].added[0].columns is not None
        assert len(session._dataset.rows) == 64


def test_evaluations_look_at_what_is_held_out_at_their_time(runs: Runs, growing, write_run) -> None:
    """Images are kept from one evaluation to the next, but not over data that has come."""
    overrides = {**QUICK, "eval.knn": True, "eval.every_steps": 4}
    write_run(runs.store, growing.ref, follow=True, overrides=overrides)
    growing.end()
    session = runs.finish()
    assert [s.position for s in read_segments(runs.store, RUN)] == [0, 8]
    found = {line["step"]: line["test_captions"] for line in runs.journal("eval") if line["name"] == "knn"}
    held = int(session._plan.held.sum())
    assert found == {0: 8, 4: held, 8: held, 12: held}
    assert held > 8


def test_readers_of_the_data_before_are_let_go(runs: Runs, growing, write_run) -> None:
    """A thread that waits for a commit of it would keep the process from ending for as long as the store is away."""
    write_run(runs.store, growing.ref, follow=True, overrides=QUICK)
    growing.end()
    session = runs.begin()
    before = session._dataset
    session.train()
    try:
        assert session._dataset is not before
        assert before.shelf._closed.is_set()
        assert not session._dataset.shelf._closed.is_set()
    finally:
        session.close()


def test_a_border_inside_a_batch_is_kept_to_the_caption(runs: Runs, growing, write_run) -> None:
    overrides = {**QUICK, "data.captions_per_batch": 6, "data.cell_captions": 6}
    write_run(runs.store, growing.ref, follow=True, overrides=overrides)
    growing.end()
    session = runs.finish()
    adopted = read_segments(runs.store, RUN)[1]
    assert (adopted.position, adopted.position % 6) == (8, 2)
    names = [name for step in range(7) for name in captions_of(session, step)]
    assert len(set(names[:8])) == 8
    assert len(set(names[8:40])) == 32


def test_what_was_held_out_or_trained_on_stays_so(runs: Runs, growing, write_run) -> None:
    write_run(runs.store, growing.ref, follow=True, overrides=QUICK)
    begun = runs.begin()
    names = [row.caption_id for row in begun._dataset.rows]
    held = begun._plan.held.tolist()
    begun.close()
    growing.end()
    session = runs.finish(1)
    assert [row.caption_id for row in session._dataset.rows][: len(names)] == names
    assert session._plan.held[: len(names)].tolist() == held
    assert 0 < sum(held) < sum(session._plan.held)


def test_a_job_that_had_ended_brings_no_borders(runs: Runs, growing, write_run) -> None:
    growing.end()
    write_run(runs.store, growing.ref, follow=True, overrides=QUICK)
    session = runs.finish()
    assert session._data.next_look(0) == 12
    assert len(read_segments(runs.store, RUN)) == 1


def test_a_job_that_ends_without_more_is_followed_no_longer(runs: Runs, growing, write_run) -> None:
    growing.grow(3)
    write_run(runs.store, growing.ref, follow=True, overrides={**QUICK, "schedule.steps": 20})
    growing.end()
    session = runs.finish()
    assert session._data.next_look(9) == 20
    assert len(read_segments(runs.store, RUN)) == 1


def test_resumed_before_a_segment_a_run_looks_for_nothing_but_it(runs: Runs, growing, write_run) -> None:
    """Killed after the segment was written and before the next checkpoint; more comes before the next start."""
    overrides = {**QUICK, "checkpoint.every_steps": 50}
    write_run(runs.store, growing.ref, follow=True, overrides=overrides)

    def render_then_die(step: int) -> None:
        if step == 2:
            growing.grow()
        if step == 4:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        runs.finish(action=render_then_die)
    assert [s.position for s in read_segments(runs.store, RUN)] == [0, 16]
    growing.end()
    resumed = runs.finish(1)
    assert resumed._start.attempt == 1
    segments = read_segments(runs.store, RUN)
    assert [(s.why, s.attempt, s.position) for s in segments] == [
        ("begun", 0, 0),
        ("adopted", 0, 16),
        ("started", 1, 16),
        ("adopted", 1, 32),
    ]
    before, after = runs.losses(0), runs.losses(1)
    assert sorted(before) == [1, 2, 3]
    assert {step: after[step] for step in before} == before
    # The same run, unbroken, over the same segments: what was recorded is all that it depends on.
    write_run(runs.store, growing.ref.model_copy(), run=OTHER_RUN, follow=True, overrides=overrides)
    for number, segment in enumerate(s for s in segments if s.why != "started"):
        copy = segment.model_copy(update={"run": OTHER_RUN, "number": number, "attempt": 0})
        runs.store.create(layout.segment(OTHER_RUN, number), copy.to_bytes())
    runs.finish(1, run=OTHER_RUN)
    assert runs.losses(1, OTHER_RUN) == after


def test_a_start_that_has_been_superseded_adopts_nothing(runs: Runs, growing, write_run) -> None:
    write_run(runs.store, growing.ref, follow=True, overrides=QUICK)

    def supersede(step: int) -> None:
        if step == 2:
            growing.grow()
            runs.begin(1).close()

    with pytest.raises(Fenced, match=r"attempt 0 .* superseded by attempt 1"):
        runs.finish(action=supersede)
    assert [(s.why, s.attempt) for s in read_segments(runs.store, RUN)] == [("begun", 0), ("started", 1)]
    with pytest.raises(Fenced):
        Session(runs.store, Start(RUN, 0, runs.folder), Ranks(), Faults(), lambda: False)


def test_streams_of_a_mixture_grow_at_borders_of_their_own(runs: Runs, growing, write_dataset, write_run) -> None:
    whole = write_dataset(runs.store, captions=40, job=SECOND)
    refs = (growing.ref, whole)
    write_run(runs.store, whole, datasets=refs, weights=(1, 2), follow=True, overrides=QUICK)
    growing.end()
    session = runs.finish()
    _, adopted = read_segments(runs.store, RUN)
    assert [d.complete for d in adopted.datasets] == [True, True]
    assert [len(d.added) for d in adopted.datasets] == [3, 0]
    names = [name for step in range(12) for name in captions_of(session, step)]
    mine = [name for name in names if name.startswith(JOB)]
    assert names[: adopted.position].count(mine[0]) == 1
    assert sum(name.startswith(JOB) for name in names[: adopted.position]) == 8
    others = [name for name in names if name.startswith(SECOND)]
    epoch = adopted.streams[1].groups
    assert len(set(others[:epoch])) == epoch, "the epoch of the other job goes on over the border"
    assert adopted.streams[1].offset == adopted.position - 8


@pytest.mark.parametrize("damage", ["columns", "order"])
def test_a_manifest_that_is_not_the_recorded_one_is_refused(runs: Runs, growing, write_run, damage: str) -> None:
    write_run(runs.store, growing.ref, follow=True, overrides=QUICK)
    if damage == "columns":
        runs.begin().close()
        columns = growing.parts[0].columns
        data = bytearray(runs.store.get(columns.key))
        data[columns.header_bytes - 2] ^= 1
        runs.store.put(columns.key, bytes(data))
        with pytest.raises(DatasetInvalid, match=r"part-000000.*synfarm verify"):
            runs.begin(1)
        return
    growing.lines[0], growing.lines[-1] = growing.lines[-1], growing.lines[0]
    growing.parts.clear()
    growing.end()
    with pytest.raises(DatasetInvalid, match="is another than the run froze"):
        runs.begin()


def test_segments_are_read_whole(runs: Runs, growing, write_run) -> None:
    write_run(runs.store, growing.ref, follow=True, overrides=QUICK)
    runs.begin().close()
    raw = runs.store.get(layout.segment(RUN, 0))
    segment = RunSegment.from_bytes(raw)
    wrong = segment.streams[0].model_copy(update={"groups": 9})
    runs.store.put(layout.segment(RUN, 0), segment.model_copy(update={"streams": (wrong,)}).to_bytes())
    with pytest.raises(DatasetInvalid, match=r"segment 0: its streams have \[8\] training captions, not the \[9\]"):
        runs.begin(1)


def test_a_run_of_one_whole_dataset_has_no_segments(runs: Runs, write_dataset, write_run) -> None:
    ref: DatasetRef = write_dataset(runs.store)
    write_run(runs.store, ref, overrides={**QUICK, "schedule.steps": 3})
    runs.finish()
    assert read_segments(runs.store, RUN) == []
