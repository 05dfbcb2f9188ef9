"""What goes up, in how many files, when a checkpoint begins to exist, and what training waits for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from synfarm.contracts import layout
from synfarm.contracts.runs import CheckpointCommit
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreRefused
from synfarm_trainer.checkpoint import CheckpointInvalid, CheckpointStore
from synfarm_trainer.checkpoint.staging import Staging
from synfarm_trainer.shares import part_of, share_of
from synfarm_trainer.state import tensors_of

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
State = Callable[[int], dict[str, Tensor]]


def merged(files: dict[str, Any]) -> dict[str, Tensor]:
    """``<part>.<name>`` of all files, each tensor in exactly one of them."""
    found: dict[str, Tensor] = {}
    for part in ("student", "teacher", "optimizer"):
        for file in part_of(part, files):
            tensors = {f"{part}.{name}": tensor for name, tensor in load(bytes(files[file])).items()}
            assert not set(found) & set(tensors)
            found |= tensors
    return found


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit, types and shapes too."""
    return set(one) == set(other) and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_tensor_is_in_one_share_and_shares_are_alike(state: State, world: int) -> None:
    whole = state(1)
    shares = [share_of(dict(reversed(whole.items())), rank, world) for rank in range(world)]
    assert sorted(name for share in shares for name in share) == sorted(whole)
    sizes = [sum(tensor.nbytes for tensor in share.values()) for share in shares]
    assert max(sizes) - min(sizes) <= max(tensor.nbytes for tensor in whole.values())


@pytest.mark.parametrize("world", [1, 3])
def test_files_are_what_safetensors_reads_and_do_not_follow_the_state(state: State, world: int) -> None:
    stagings, whole, files = [Staging() for _ in range(world)], state(1), {}
    for rank, staging in enumerate(stagings):
        files |= staging.fill(share_of(whole, rank, world), rank, world)
    for tensor in whole.values():
        tensor.zero_()
    assert same(merged(files), state(1))
    if world == 1:
        assert sorted(files) == ["optimizer.safetensors", "student.safetensors", "teacher.safetensors"]
    else:
        assert "student-00001-of-00003.safetensors" in files


def test_the_next_checkpoint_uses_the_same_memory(state: State) -> None:
    staging = Staging()
    first = staging.fill(state(1), 0, 1)
    again = staging.fill({name: tensor.t() if tensor.ndim == 2 else tensor for name, tensor in state(2).items()}, 0, 1)
    assert first["student.safetensors"].obj.ctypes.data == again["student.safetensors"].obj.ctypes.data
    assert torch.equal(merged(again)["student.weight"], state(2)["student.weight"].t())


def test_a_checkpoint_of_several_ranks_exists_when_the_last_share_is_there(group: Any, state: State) -> None:
    store = MemoryStore()
    ranks = group(store, world=3)
    ranks.save(4, ranks=[0, 1])
    ranks.savers[1].drain()
    assert ranks.stores[0].others(4, 3) is None, "one of two is there"
    assert ranks.savers[0].poll() == []
    assert ranks.stores[0].committed() == []
    ranks.save(4, ranks=[2])
    (commit,) = ranks.drain()
    assert (commit.step, commit.world_size) == (4, 3)
    assert commit.facts.bytes == sum(store.head(file.key).size for file in commit.files)
    assert min(commit.stall_seconds, commit.upload_seconds) > 0
    attempt, step, files = ranks.stores[1].newest()
    assert (attempt, step) == (0, 4)
    assert same(merged(files), state(4))
    assert files["state.json"] == b'{"refilled": 4}'


def test_what_no_commit_names_is_never_read(group: Any, state: State) -> None:
    store = MemoryStore()
    ranks = group(store, world=2)
    ranks.save(4)
    ranks.drain()
    store.put(layout.checkpoint_file(RUN, 4, 0, "student-00002-of-00003.safetensors"), b"garbage of nobody")
    assert same(merged(ranks.stores[0].newest()[2]), state(4))


def test_training_waits_for_its_own_former_upload_and_for_nothing_else(group: Any) -> None:
    """Another rank that is late, or has failed and not yet said so, must not stop this one: it may wait for this one
    in a step."""
    store, gate = MemoryStore(), threading.Event()

    def hold(operation: str, key: str) -> None:
        if operation == "put" and "000000008-" in key:
            assert gate.wait(60)

    store.fault = hold
    ranks = group(store, world=2)
    ranks.save(4, ranks=[0])
    ranks.save(8, ranks=[0])  # the first rank's upload of 4 has ended; that rank 1 has not begun stops nobody
    third = threading.Thread(target=ranks.save, args=(12,), kwargs={"ranks": [0]})
    third.start()
    third.join(0.2)
    assert third.is_alive(), "one upload is in flight, and its memory is used again"
    assert ranks.savers[0].poll() == []
    gate.set()
    third.join(60)
    for step in (4, 8, 12):
        ranks.save(step, ranks=[1])
    assert [commit.step for commit in ranks.drain()] == [4, 8, 12]


def test_a_rank_that_fails_leaves_no_commit_and_says_so(group: Any) -> None:
    store = MemoryStore()

    def refuse(operation: str, key: str) -> None:
        if operation == "put" and "00001-of-00002" in key:
            raise StoreRefused("no more room")

    ranks = group(store, world=2)
    ranks.save(4)
    ranks.drain()
    store.fault = refuse
    ranks.save(8)
    with pytest.raises(StoreRefused, match="no more room"):
        ranks.savers[1].drain()
    with pytest.raises(StoreRefused, match="no more room"):
        ranks.save(12, ranks=[1])
    assert ranks.savers[0].poll() == []
    assert ranks.stores[0].newest()[:2] == (0, 4)
    assert any(step == 8 for _, step in ranks.stores[0].folders()), "what was uploaded is no checkpoint"


def test_a_checkpoint_as_earlier_versions_wrote_it_is_read(state: State) -> None:
    """One rank wrote all of it, under plain names, and its commit told less."""
    store, module = MemoryStore(), torch.nn.Linear(3, 2)
    data, key = tensors_of(module), layout.checkpoint_file(RUN, 6, 0, "student.safetensors")
    store.put(key, data)
    old = {
        "schema_version": 1,
        "run": RUN,
        "step": 6,
        "attempt": 0,
        "token": "01hzzzzzzzzzzzzzzzzzzzzzz2",
        "world_size": 4,
        "files": [{"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}],
        "committed_at": "2026-11-01T12:00:00Z",
    }
    store.put(layout.checkpoint_commit(RUN, 6, 0), json.dumps(old).encode())
    checkpoints = CheckpointStore(store, RUN, 1, "")
    assert checkpoints.newest() == (0, 6, {"student.safetensors": data})
    assert checkpoints.read_commit(0, 6).facts.upload_seconds is None
    assert same(merged({"student.safetensors": data}), {f"student.{k}": v for k, v in module.state_dict().items()})


def test_a_file_that_was_damaged_on_its_way_is_read_again(group: Any, state: State) -> None:
    store, spoiled = MemoryStore(), []
    ranks = group(store)
    ranks.save(4)
    ranks.drain()
    usual = store.get

    def once(key: str) -> bytes:
        data = usual(key)
        if key.endswith("teacher.safetensors") and not spoiled:
            spoiled.append(key)
            return data[:-1] + bytes([data[-1] ^ 1])
        return data

    store.get = once  # type: ignore[method-assign]
    assert same(merged(ranks.stores[0].load(0, 4)), state(4))
    assert spoiled
    store.put(spoiled[0], usual(spoiled[0])[:-1] + b"?")
    with pytest.raises(CheckpointInvalid, match="checksum differs"):
        ranks.stores[0].load(0, 4)


def test_the_contract_of_a_commit_is_what_is_stored(group: Any) -> None:
    store = MemoryStore()
    ranks = group(store, world=2)
    ranks.save(4)
    (commit,) = ranks.drain()
    assert CheckpointCommit.from_bytes(store.get(layout.checkpoint_commit(RUN, 4, 0))) == commit


@pytest.mark.parametrize("wrong", ["twice", "empty"])
def test_a_commit_that_no_trainer_writes_is_passed_over(group: Any, wrong: str) -> None:
    store = MemoryStore()
    ranks = group(store)
    for step in (3, 4):
        ranks.save(step)
        ranks.drain()
    key = layout.checkpoint_commit(RUN, 4, 0)
    commit = CheckpointCommit.from_bytes(store.get(key))
    first, *others = commit.files
    empty = first.model_copy(update={"size": 0, "sha256": hashlib.sha256(b"").hexdigest()})
    files = (first, *commit.files) if wrong == "twice" else (empty, *others)
    store.put(key, commit.model_copy(update={"files": files}).to_bytes())
    if wrong == "empty":
        store.put(first.key, b"")
    found = ranks.stores[0].newest()
    assert found is not None
    assert found[:2] == (0, 3)


def test_files_of_a_checkpoint_are_read_several_at_a_time(group: Any, state: State) -> None:
    store = MemoryStore()
    ranks = group(store, world=2)
    ranks.save(3)
    (commit,) = ranks.drain()
    both, first = threading.Barrier(2, timeout=60), threading.Semaphore(2)

    def meet(operation: str, key: str) -> None:
        if operation == "get" and key.endswith(".safetensors") and first.acquire(blocking=False):
            both.wait()

    store.fault = meet
    files = ranks.stores[0].load(0, 3)
    assert len(files) == len(commit.files)
    assert same(merged(files), state(3))
