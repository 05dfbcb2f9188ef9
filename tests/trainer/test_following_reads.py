"""What a run that follows a job reads of its manifest: each part once a start, whatever comes or goes away."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable
from synfarm_trainer.data.manifest import Increment, load_dataset
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

sys.path.insert(0, str(Path(__file__).parent))
from growing_job import GrowingJob

RUN, JOB = "01hzzzzzzzzzzzzzzzzzzzzzz1", "01hzzzzzzzzzzzzzzzzzzzzzz0"
QUICK: dict[str, object] = {
    "data.captions_per_batch": 8,
    "schedule.steps": 4,
    "eval.knn": False,
    "eval.patch_pca": False,
}


@pytest.fixture(autouse=True)
def _torch_state() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def growing(write_dataset: Callable[..., Any]) -> GrowingJob:
    """64 captions in 4 parts, of which one is there."""
    job = GrowingJob.write(MemoryStore(), write_dataset, JOB)
    job.grow()
    return job


def _reads(store: Any) -> Counter[str]:
    """Counts reads of columns from now on, by key."""
    found: Counter[str] = Counter()
    store.fault = lambda operation, key: found.update([key] if operation == "get_range" and "columns" in key else [])
    return found


def test_what_was_read_is_not_read_again_when_more_comes(
    growing: GrowingJob, write_run: Any, open_attempt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(growing.store, growing.ref, follow=True, overrides=QUICK)
    open_attempt(growing.store, 0)
    reads, before = _reads(growing.store), []

    def render(faults: Faults, point: str, unit: int | None = None) -> None:
        if (point, unit) == ("train.step", 2):
            before.append(dict(reads))
            growing.grow(2)

    monkeypatch.setattr(Faults, "reach", render)
    session = Session(growing.store, Start(RUN, 0, tmp_path), Ranks(), Faults(), lambda: False)
    try:
        session.train()
    finally:
        session.close()
    assert len(session._dataset.rows) == 48
    first, *more = (part.columns.key for part in growing.parts if part.columns is not None)
    assert before == [{first: reads[first]}]
    assert all(reads[key] for key in more)


def test_a_store_that_goes_away_costs_the_part_that_was_read(growing: GrowingJob) -> None:
    growing.grow(3)
    keys = [part.columns.key for part in growing.parts if part.columns is not None]
    store: Any = growing.store
    reads = _reads(store)
    count = store.fault

    def away(operation: str, key: str) -> None:
        count(operation, key)
        if key == keys[2] and reads[key] == 1:
            raise StoreUnavailable(key)

    store.fault = away
    assert len(load_dataset(store, [Increment(JOB, 1, tuple(growing.parts))], views=4).rows) == 64
    assert [reads[key] - reads[keys[0]] for key in keys] == [0, 0, 1, 0]
