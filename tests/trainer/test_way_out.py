"""A rank that ends by an error: which word it leaves, and that what its last steps told is in the store."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from synfarm.contracts import layout
from synfarm.contracts.runs import StepMetrics
from synfarm.faults import Faults
from synfarm.storage import minio_store
from synfarm.storage.memory import MemoryStore
from synfarm_trainer import run as entry
from synfarm_trainer.refusal import RunRefused

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
QUICK: dict[str, object] = {"eval.knn": False, "eval.patch_pca": False, "checkpoint.every_steps": 50}


class _Exited(BaseException):
    """In place of the end of this process."""


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("error", "step", "reason"),
    [
        (ValueError("an index of the code"), 5, "crash"),
        (RunRefused("data.held_out: nothing is held out"), 5, "config"),
        (ValueError("data.views: too few"), 0, "config"),
    ],
)
def test_an_error_is_told_by_where_it_comes_from_and_no_step_is_lost(
    error: ValueError,
    step: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_dataset: Any,
    write_run: Any,
    open_attempt: Any,
) -> None:
    """Step 0 stands for the time before the first one."""
    store = MemoryStore()
    write_run(store, write_dataset(store, captions=24), overrides=QUICK)
    open_attempt(store, 0)

    def fail(faults: Faults, point: str, unit: int | None = None) -> None:
        if point == "train.step" and unit == step:
            raise error

    def end(status: int) -> None:
        raise _Exited(status)

    def refuse(*given: object) -> None:
        raise error

    monkeypatch.setattr(Faults, "reach", fail)
    monkeypatch.setattr(minio_store, "open_store", lambda settings: store)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(entry, "die_with_agent", lambda: None)
    monkeypatch.setattr(entry, "configure_logging", lambda *given, **more: None)
    if not step:
        monkeypatch.setattr("synfarm_trainer.session.build_optimizer", refuse)
    with pytest.raises(_Exited):
        entry.main(["--run-id", RUN, "--attempt", "0", "--state-dir", str(tmp_path)])
    left = json.loads((tmp_path / "runs" / RUN / "exit-000000.json").read_text())
    assert (left["reason"], left["detail"]) == (reason, str(error))
    uploaded = [
        StepMetrics.from_bytes(line).step
        for info in store.list(layout.metrics_prefix(RUN))
        for line in store.get(info.key).splitlines()
    ]
    assert uploaded == list(range(1, step))
