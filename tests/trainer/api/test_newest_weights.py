"""The weights of a run's view: right after any service's change, and read from the store only when they are others."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.mixing import MixChange
from synfarm.contracts.runs import DatasetRef
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.api import newest_weights
from synfarm_trainer.api.newest_weights import NewestWeights
from synfarm_trainer.api.records import RecordMalformed, RunRecords, new_ulid

Asked = list[tuple[str, str]]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def asked(store: MemoryStore) -> Asked:
    """(operation, key) of every request."""
    found: Asked = []
    store.fault = lambda operation, key: found.append((operation, key))
    return found


def a_run(store: MemoryStore, write_run: Any, *weights: int) -> Any:
    refs = tuple(DatasetRef(job=new_ulid(), generation=1, manifest_sha256="0" * 64) for _ in range(2))
    run = new_ulid()
    write_run(store, refs[0], run=run, datasets=refs, weights=weights)
    return RunRecords(store).spec(run)


def change(store: MemoryStore, run: str, number: int, *weights: int) -> None:
    asked = MixChange(run=run, number=number, weights=weights, by="ada", at=utc_now())
    store.put(layout.mix_change(run, number), asked.to_bytes())


def test_a_change_is_read_once_and_a_newer_one_of_anybody_holds_at_once(
    store: MemoryStore, asked: Asked, write_run: Any
) -> None:
    spec = a_run(store, write_run, 3, 1)
    weights = NewestWeights(RunRecords(store))
    assert [weights.of(spec), weights.of(spec)] == [(3, 1), (3, 1)]
    for number, wanted in ((0, (1, 1)), (1, (1, 2)), (11, (5, 1))):
        change(store, spec.run, number, *wanted)
        asked.clear()
        assert [weights.of(spec) for _ in range(3)] == [wanted] * 3
        assert [operation for operation, _ in asked] == ["list", "get", "list", "list"]
    listed: list[str | None] = []
    real = store.list

    def list_after(prefix: str, *, start_after: str | None = None, limit: int | None = None) -> Any:
        listed.append(start_after)
        return real(prefix, start_after=start_after, limit=limit)

    store.list = list_after  # type: ignore[method-assign]
    weights.of(spec)
    assert listed == [layout.mix_change(spec.run, 10)], "older changes are not listed again"
    change(store, spec.run, 11, 7, 1)
    assert weights.of(spec) == (7, 1), "restored from a backup, with other bytes"
    store.delete(layout.mix_change(spec.run, 11))
    assert weights.of(spec) == (1, 2)


def test_a_run_without_weights_asks_for_nothing(store: MemoryStore, asked: Asked, write_run: Any) -> None:
    spec = a_run(store, write_run)
    asked.clear()
    assert NewestWeights(RunRecords(store)).of(spec) == ()
    assert asked == []


def test_what_cannot_be_read_is_remembered_by_nobody(store: MemoryStore, write_run: Any) -> None:
    spec = a_run(store, write_run, 3, 1)
    weights = NewestWeights(RunRecords(store))
    store.put(layout.mix_change(spec.run, 0), b"{")
    with pytest.raises(RecordMalformed):
        weights.of(spec)
    change(store, spec.run, 0, 1, 1)
    assert weights.of(spec) == (1, 1)


def test_no_more_runs_are_remembered_than_the_bound(
    store: MemoryStore, write_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest_weights, "_KNOWN", 2)
    weights = NewestWeights(RunRecords(store))
    for _ in range(4):
        spec = a_run(store, write_run, 3, 1)
        change(store, spec.run, 0, 1, 1)
        weights.of(spec)
    assert len(weights._known) == 2
