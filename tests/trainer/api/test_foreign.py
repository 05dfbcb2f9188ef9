"""Objects that nobody of ours has written, and records that cannot be read: they cost no run and no start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from synfarm.contracts import layout
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.api.records import RunRecords, new_ulid
from synfarm_trainer.checkpoint import CheckpointStore

WaitFor = Callable[[Callable[[], Any]], Any]


def test_one_run_that_cannot_be_read_costs_no_other(service: Any, wait_for: WaitFor, ended: Any) -> None:
    service.plan({"steps": 1, "end": "completed"})
    bad, unended = new_ulid(), new_ulid()
    service.store.put(layout.run(bad), b"{")
    service.store.put("runs/notes/readme.txt", b"mine")
    service.store.put(layout.run_ended(unended), b"[]")
    job = service.add_job()
    with capture_logs() as logs, service.open() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200)
        run = client.post("/v1/runs", json={"jobs": [job]}).json()["run"]
        service.store.put(f"runs/{run}/attempts/notes.txt", b"mine")
        service.store.put(f"runs/{run}/checkpoints/old/notes.txt", b"mine")
        service.store.put(f"runs/{run}/evals/000000009/knn.json", b"{")
        assert ended(client, run)["state"] == "completed"
        assert [item["run"] for item in client.get("/v1/runs").json()["items"]] == [run]
        assert client.get(f"/v1/runs/{run}/evals").json() == {"evals": {}}
        problem = client.get(f"/v1/runs/{bad}").json()
        assert (problem["status"], problem["code"]) == (500, "record_malformed")
        assert problem["detail"].startswith(layout.run(bad))
    told = {line["key"] for line in logs if line["event"] in {"foreign_object", "object_malformed"}}
    assert {"runs/notes/", layout.run(bad), layout.run_ended(unended)} <= told


def test_an_end_that_cannot_be_read_costs_no_run_that_waits_behind_it(
    service: Any, wait_for: WaitFor, ended: Any, tmp_path: Path
) -> None:
    last = tmp_path / "last"
    service.plan({"steps": 1, "end": "completed", "after": str(last)})
    with service.open() as client:
        first, second = (client.post("/v1/runs", json={"jobs": [service.add_job()]}).json()["run"] for _ in range(2))
        wait_for((service.state_dir / "runs" / first / "started-0").exists)
        service.store.put(layout.run_ended(first), b"{")
        last.touch()
        assert ended(client, second)["state"] == "completed"
        assert client.get("/healthz").status_code == 200


def test_ranks_pass_over_what_is_no_checkpoint() -> None:
    store, run = MemoryStore(), new_ulid()
    store.put(f"runs/{run}/checkpoints/notes.txt", b"mine")
    store.put(f"runs/{run}/attempts/notes.txt", b"mine")
    checkpoints = CheckpointStore(store, run, 0, new_ulid())
    with capture_logs() as logs:
        checkpoints.look()
        assert checkpoints.newest() is None
    assert [line["key"] for line in logs if line["event"] == "foreign_object"] == [
        f"runs/{run}/attempts/notes.txt",
        f"runs/{run}/checkpoints/notes.txt",
    ]


@pytest.mark.parametrize("step", [-1, 0])
def test_what_was_told_is_not_told_again(step: int) -> None:
    run, records = new_ulid(), RunRecords(MemoryStore())
    records.store.put(f"runs/{run}/checkpoints/notes.txt", b"mine")
    if step >= 0:
        records.store.put(layout.checkpoint_commit(run, step, 0), b"{")
    with capture_logs() as logs:
        for _ in range(2):
            assert len(records.checkpoint_keys(run)) == step + 1
            assert records.last_checkpoint(run) is None
    assert sum(line["event"] == "foreign_object" for line in logs) == 1
