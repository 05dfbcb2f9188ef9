"""Whole runs over an in-memory store, looked at for what they make of their images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from synfarm.contracts import layout
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.data.fetch import DatasetDamaged
from synfarm_trainer.endings import exit_reason
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"


class FailsAt(Faults):
    """Ends the run before a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def reach(self, point: str, unit: int | None = None) -> None:
        if unit == self._step:
            raise RuntimeError("killed")


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def begin(tmp_path: Path, write_dataset, write_run, open_attempt) -> Callable[..., Session]:
    """(store, attempt, overrides, fails_at) to a session; a store without a dataset is given one."""

    def make(store: MemoryStore, attempt: int = 0, overrides=None, fails_at: int = 0) -> Session:
        if store.head(layout.run(RUN)) is None:
            write_run(store, write_dataset(store), overrides=overrides)
        open_attempt(store, attempt)
        return Session(store, Start(RUN, attempt, tmp_path), Ranks(), FailsAt(fails_at), lambda: False)

    return make


@pytest.fixture
def told(tmp_path: Path) -> Callable[[int, str], list[dict]]:
    """(attempt, type) to what the journal holds of it."""

    def read(attempt: int, kind: str) -> list[dict]:
        lines = (tmp_path / "runs" / RUN / f"journal-{attempt:06d}.jsonl").read_text().splitlines()
        return [line["data"] for line in map(json.loads, lines) if line["type"] == kind]

    return read


def finish(session: Session) -> str:
    try:
        return session.train()
    finally:
        session.close()


def test_crops_cut_on_the_device_train_alike_and_a_killed_run_goes_on_bit_for_bit(begin, told, every_term) -> None:
    overrides = {**every_term, "data.crops": 2, "data.views": 2, "schedule.steps": 6, "eval.patch_pca": False}
    device = {**overrides, "execution.augment": "device"}
    finish(begin(MemoryStore(), overrides=overrides))
    finish(begin(MemoryStore(), 1, device))
    steps = told(1, "step")
    for cpu, other in zip(told(0, "step"), steps, strict=True):
        assert other["losses"]["total"] == pytest.approx(cpu["losses"]["total"], rel=0.02)
        assert other["batch_sha256"] != cpu["batch_sha256"], "other pixels are hashed"
    untrained = told(0, "eval")[0], told(1, "eval")[0]
    assert untrained[0] == untrained[1], "evaluations look at images that are not cut at all"

    store = MemoryStore()
    with pytest.raises(RuntimeError, match="killed"):
        finish(begin(store, 2, device, fails_at=5))
    finish(begin(store, 3, device))
    again = [(step["step"], step["loss_hex"], step["batch_sha256"]) for step in told(3, "step")]
    assert again == [(step["step"], step["loss_hex"], step["batch_sha256"]) for step in steps[3:]]


@pytest.mark.parametrize("allowance", [16, 0])
def test_41_images_damaged_at_rest_are_replaced_counted_and_told_until_they_are_too_many(
    begin, told, allowance: int
) -> None:
    """Pitfall 41: one image of each caption is lost."""
    store = MemoryStore()
    borne = {"data.refill_allowance": allowance, "data.max_refill_rate": 0.5 if allowance else 0.01}
    session = begin(store, overrides={**borne, "schedule.steps": 3, "eval.knn": False, "eval.patch_pca": False})
    session._cache._reads.wait_seconds = 0.001
    for row, place in zip(session._dataset.rows, session._dataset.shard_of, strict=True):
        key, member = session._dataset.shards[place].key, row.members[2]
        data = bytearray(store.get(key))
        data[member.offset : member.offset + 40] = bytes(40)
        store.put(key, bytes(data))
    if not allowance:
        with pytest.raises(DatasetDamaged, match=r"more than data\.max_refill_rate \(0\.01\)") as caught:
            finish(session)
        assert exit_reason(caught.value) == "data"
        return
    assert finish(session) == "completed"
    assert [step["refilled"] for step in told(0, "step")] == [12, 24, 36]
    refills = [state["refilled"] for state in told(0, "state") if "refilled" in state]
    assert len({item["caption_id"] for item in refills}) == len(refills) == 36
    assert {(item["image"], item["taken"]) for item in refills} == {(2, 3)}


def test_a_run_reads_by_way_of_the_nodes_disk_and_tells_what_that_came_to(
    tmp_path: Path, begin, told, write_dataset, write_run, open_attempt
) -> None:
    """The second start, of another service that names the same folder, asks the store for no image at all."""
    store, bare = MemoryStore(), {"schedule.steps": 3, "eval.knn": False, "eval.patch_pca": False}
    finish(begin(MemoryStore(), overrides=bare))
    write_run(store, write_dataset(store), overrides={**bare, "data.cache_disk_mib": 64, "data.fetch_threads": 4})
    expected = [step["batch_sha256"] for step in told(0, "step")]
    for attempt in (1, 2):
        open_attempt(store, attempt)
        start = Start(RUN, attempt, tmp_path, tmp_path / "elsewhere")
        assert finish(Session(store, start, Ranks(), Faults(), lambda: False)) == "completed"
        reading = told(attempt, "step")[-1]["reading"]
        assert [step["batch_sha256"] for step in told(attempt, "step")] == expected
        assert reading["hits"] + reading["misses"] >= 36
        kept = len(list((tmp_path / "elsewhere").glob("??/*.tar")))
        assert kept > 0
        assert (reading["requests"], reading["disk_falls"]) == (kept if attempt == 1 else 0, 0)
        for key in [item.key for item in store.list("runs/") if "/checkpoints/" in item.key]:
            store.delete(key)
    assert not (tmp_path / "shards").exists()
