"""A whole run: what its metrics tell of checkpoints, a stop while one is on its way, and what is kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from synfarm.contracts import layout
from synfarm.contracts.runs import CheckpointFacts
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.checkpoint import CheckpointStore
from synfarm_trainer.config import parse_initial
from synfarm_trainer.initial.reading import read_weights
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
BARE: dict[str, object] = {"eval.knn": False, "eval.patch_pca": False}


@pytest.fixture
def begin(tmp_path: Path, write_dataset: Any, write_run: Any, open_attempt: Any) -> Iterator[Callable[..., Session]]:
    """(store, overrides, stop) to a session of one rank."""
    threads = torch.get_num_threads()

    def make(store: MemoryStore, overrides: dict[str, object], stop: Callable[[], bool] = lambda: False) -> Session:
        write_run(store, write_dataset(store, captions=32), overrides={**BARE, **overrides})
        open_attempt(store, 0)
        return Session(store, Start(RUN, 0, tmp_path), Ranks(), Faults(), stop)

    yield make
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def told(tmp_path: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (tmp_path / f"runs/{RUN}/journal-000000.jsonl").read_text().splitlines())
    return [line["data"] for line in lines if line["type"] == kind]


def test_metrics_tell_what_a_checkpoint_cost_and_retention_follows_the_configuration(
    begin: Any, tmp_path: Path
) -> None:
    store = MemoryStore()
    overrides = {
        "schedule.steps": 9,
        "checkpoint.every_steps": 2,
        "checkpoint.keep_last": 2,
        "checkpoint.keep_every": 4,
    }
    session = begin(store, overrides)
    assert session.train() == "completed"
    session.close()
    assert CheckpointStore(store, RUN, 0, "").committed() == [(0, 9), (0, 8), (0, 4)]
    steps = told(tmp_path, "step")
    assert [line["step"] for line in steps if line["checkpoint_seconds"] > 0] == [3, 5, 7, 9]
    assert all(line["checkpoint_seconds"] < line["seconds"] for line in steps), "it is a part of the step"
    uploads = [line for line in steps if line["checkpoint_upload_seconds"] is not None]
    assert [line["step"] for line in uploads] == [4, 6, 8]
    facts = [CheckpointFacts.model_validate(line) for line in told(tmp_path, "checkpoint")]
    assert [(one.step, one.attempt) for one in facts] == [(2, 0), (4, 0), (6, 0), (8, 0), (9, 0)]
    assert {line["checkpoint_bytes"] for line in uploads} <= {one.bytes for one in facts}
    assert all(one.stall_seconds and one.upload_seconds for one in facts)


def test_a_stop_while_a_save_is_on_its_way_waits_for_both(begin: Any) -> None:
    """SIGTERM comes in step 4 while the upload of step 3 hangs in the store; both are committed in the end."""
    store, gate, reasons = MemoryStore(), threading.Event(), []

    def hold(operation: str, key: str) -> None:
        if operation == "put" and "/000000003-" in key:
            assert gate.wait(60)

    store.fault = hold
    session = begin(store, {"schedule.steps": 12, "checkpoint.every_steps": 3}, stop=lambda: session.step == 3)
    thread = threading.Thread(target=lambda: reasons.append(session.train()))
    thread.start()
    while session.step < 4:
        assert thread.is_alive()
        time.sleep(0.01)
    assert CheckpointStore(store, RUN, 0, "").committed() == []
    gate.set()
    thread.join(60)
    session.close()
    assert reasons == ["stopped"]
    assert CheckpointStore(store, RUN, 0, "").committed() == [(0, 4), (0, 3)]


def test_another_run_begins_with_a_checkpoint_of_several_ranks(begin: Any, saved: Any) -> None:
    store = MemoryStore()
    session = begin(store, {"schedule.steps": 1, "schedule.warmup_steps": 0})
    session.train()
    session.close()
    whole = CheckpointStore(store, RUN, 0, "")
    cut = CheckpointStore(store, RUN, 1, "01hzzzzzzzzzzzzzzzzzzzzzz2")
    cut.commit([cut.upload(1, saved(session._objective, session._optimizer, world=3), world=3)])
    assert whole.committed() == [(1, 1), (0, 1)]
    of_three = read_weights(parse_initial(f"run:{RUN}@1"), store)
    store.delete(layout.checkpoint_commit(RUN, 1, 1))
    of_one = read_weights(parse_initial(f"run:{RUN}@1"), store)
    assert sorted(of_three.tensors) == sorted(of_one.tensors)
    assert all(torch.equal(tensor, of_one.tensors[name]) for name, tensor in of_three.tensors.items())
    assert of_three.sha256 != of_one.sha256
