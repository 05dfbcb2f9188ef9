"""A run that is backed up while it trains, and whose store is then lost, goes on in another one as it would have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.faults import Faults
from synfarm.housekeeping.backup.backing_up import back_up
from synfarm.housekeeping.backup.restoring import restore
from synfarm.housekeeping.backup.shelf import StoreShelf
from synfarm.local.servers import LocalS3
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

pytestmark = [pytest.mark.integration, pytest.mark.long]
RUN, JOB = "01hzzzzzzzzzzzzzzzzzzzzzz1", "01hzzzzzzzzzzzzzzzzzzzzzz0"


class BeforeStep(Faults):
    """Calls ``action`` before one step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        super().__init__()
        self._step, self._action = step, action

    def reach(self, point: str, unit: int | None = None) -> None:
        if point == "train.step" and unit == self._step:
            self._action()


@pytest.fixture(autouse=True)
def _torch_state() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def train(store: ObjectStore, attempt: int, folder: Path, faults: Faults | None = None) -> dict[int, tuple[str, str]]:
    """Loss and batch of each step."""
    session = Session(store, Start(RUN, attempt, folder), Ranks(), faults or Faults(), lambda: False)
    try:
        assert session.train() == "completed"
    finally:
        session.close()
    lines = (folder / "runs" / RUN / f"journal-{attempt:06d}.jsonl").read_text().splitlines()
    steps = [line["data"] for line in map(json.loads, lines) if line["type"] == "step"]
    return {step["step"]: (step["loss_hex"], step["batch_sha256"]) for step in steps}


def test_it_goes_on_with_the_same_batches_and_losses(
    store: ObjectStore, tmp_path: Path, write_dataset: Any, write_run: Any, open_attempt: Any
) -> None:
    dataset = write_dataset(store, columns=True)
    spec = JobSpec(
        job=JOB, owner="local", created_at=utc_now(), concepts=(Concept(name="cat"),), captions=64, captions_per_unit=8
    )
    store.create(layout.job(JOB), spec.to_bytes())
    write_run(store, dataset)
    open_attempt(store, 0)
    second = LocalS3.start(tmp_path / "s3")
    try:
        shelf = StoreShelf(open_store(second.settings("backup")), "the second server")
        calm = train(store, 0, tmp_path / "calm", BeforeStep(7, lambda: _back_up(store, shelf)))
        for info in list(store.list("")):
            store.delete(info.key)
        other = open_store(second.settings("farm"))
        assert [done.kind for done in restore(shelf, other)] == ["job", "run"]
        assert other.head(layout.pin(JOB, RUN)) is not None
        open_attempt(other, 1)
        resumed = train(other, 1, tmp_path / "resumed")
    finally:
        second.server.kill()
    assert min(resumed) > 1, "it goes on from a checkpoint"
    assert resumed == {step: told for step, told in calm.items() if step >= min(resumed)}


def _back_up(store: ObjectStore, shelf: StoreShelf) -> None:
    assert [head.kind for head in back_up(store, RUN, shelf)] == ["run", "job"]
