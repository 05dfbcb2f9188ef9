"""Which checkpoints stay, what a kill in the middle leaves, and that a superseded start deletes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunAttempt
from synfarm.faults import FaultInjected, Faults
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreRefused
from synfarm_trainer.checkpoint import Fenced, Keep, retention
from synfarm_trainer.checkpoint.retention import sweep
from synfarm_trainer.checkpoint.store import CheckpointStore

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"


def attempt(store: MemoryStore, number: int) -> None:
    token = RunAttempt(run=RUN, number=number, token="01hzzzzzzzzzzzzzzzzzzzzzz3", started_at=utc_now(), host="another")
    store.create(layout.attempt(RUN, number), token.to_bytes())


def steps(store: MemoryStore) -> list[int]:
    return sorted(step for _, step in CheckpointStore(store, RUN, 9, "").committed())


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(), [2, 4, 6, 8, 10, 12]),
        (Keep(last=1), [12]),
        (Keep(last=3), [8, 10, 12]),
        (Keep(last=2, every=4), [4, 8, 10, 12]),
        (Keep(last=9), [2, 4, 6, 8, 10, 12]),
    ],
)
@pytest.mark.parametrize("world", [1, 2])
def test_the_newest_and_every_so_many_steps_stay(group: Any, keep: Keep, left: list[int], world: int) -> None:
    store = MemoryStore()
    ranks = group(store, world=world, keep=keep)
    for step in range(2, 13, 2):
        ranks.save(step)
    assert len(ranks.drain()) == 6
    assert steps(store) == left
    assert sorted({step for _, step in ranks.stores[0].folders()}) == left, "their files are gone too"
    for step in left:
        ranks.stores[0].load(0, step)


def test_what_is_not_there_in_full_does_not_count(group: Any) -> None:
    store = MemoryStore()
    ranks = group(store)
    for step in (2, 4, 6, 8):
        ranks.save(step)
    ranks.drain()
    store.delete(layout.checkpoint_file(RUN, 8, 0, "teacher.safetensors"))
    store.put(layout.checkpoint_commit(RUN, 6, 0), b'{"half":')
    assert sweep(ranks.stores[0], Keep(last=2)) == []
    assert steps(store) == [2, 4, 6, 8], "two are whole, and neither of them goes"
    assert sweep(ranks.stores[0], Keep(last=1)) == [(0, 2)]
    assert steps(store) == [4, 6, 8], "what counts before the one that is kept is for somebody to look at"


def test_of_two_starts_the_newer_ones_checkpoint_of_a_step_stays(group: Any) -> None:
    store = MemoryStore()
    old = group(store, 0)
    for step in (4, 8, 12):
        old.save(step)
    old.drain()
    new = group(store, 1, keep=Keep(last=1, every=4))
    for step in (8, 9):
        new.save(step)
    new.drain()
    assert new.stores[0].committed() == [(1, 9), (1, 8), (0, 12), (0, 4)]


@pytest.mark.parametrize("point", ["checkpoint.delete", "checkpoint.deleting"])
def test_a_deletion_that_was_cut_short_is_ended_by_the_next(group: Any, tmp_path: Any, point: str) -> None:
    store = MemoryStore()
    faults = Faults(f"{point}:unit=2:raise:{tmp_path}/fell")
    ranks = group(store, world=2, keep=Keep(last=1), reach=faults.reach)
    ranks.save(2)
    ranks.save(4)
    with pytest.raises(FaultInjected):
        ranks.drain()
    assert ranks.stores[0].newest()[:2] == (0, 4)
    left = {step for _, step in ranks.stores[0].folders()}
    assert left == {2, 4}, "the fault fell in the middle"
    assert steps(store) == ([2, 4] if point == "checkpoint.delete" else [4]), "commit.json goes first"
    again = group(store, 1, world=2, keep=Keep(last=1))
    again.save(6)
    again.drain()
    assert again.stores[0].folders().keys() == {(1, 6)}


def supersede_at(store: MemoryStore, point: str, step: int) -> Callable[[str, int], None]:
    def reach(at: str, of: int) -> None:
        if (at, of) == (point, step):
            attempt(store, 1)

    return reach


@pytest.mark.parametrize(
    ("point", "step", "left"),
    [
        ("checkpoint.commit", 6, [2, 4, 6]),  # slips through between its look and its commit, and deletes nothing
        ("checkpoint.committed", 6, [2, 4, 6]),
        ("checkpoint.deleting", 2, [4, 6]),  # in the middle of its first deletion: that one was begun before
    ],
)
def test_a_superseded_start_deletes_nothing_any_more(group: Any, point: str, step: int, left: list[int]) -> None:
    store = MemoryStore()
    before = group(store, 0)
    before.save(2)
    before.save(4)
    before.drain()
    zombie = group(store, 0, keep=Keep(last=1), reach=supersede_at(store, point, step))
    zombie.save(6)
    with pytest.raises(Fenced, match="superseded by attempt 1"):
        zombie.drain()
    assert steps(store) == left
    with pytest.raises(Fenced):
        sweep(zombie.stores[0], Keep(last=1))
    assert steps(store) == left
    assert CheckpointStore(store, RUN, 1, "").newest()[:2] == (0, 6)


def test_a_store_that_refuses_to_delete_ends_no_run(group: Any, logged: Any) -> None:
    store, lines = MemoryStore(), logged(retention)

    def refuse(operation: str, key: str) -> None:
        if operation == "delete":
            raise StoreRefused("the bucket keeps its objects")

    store.fault = refuse
    ranks = group(store, keep=Keep(last=1))
    ranks.save(2)
    ranks.save(4)
    ranks.drain()
    assert steps(store) == [2, 4]
    assert [(line["event"], line["step"]) for line in lines] == [("checkpoint_stays", 2)]
