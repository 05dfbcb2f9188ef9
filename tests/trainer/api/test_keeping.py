"""How a run is kept while the store is away: whoever keeps it shows life, and can still be left."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.runs import DatasetRef
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable
from synfarm_trainer.api.keeping import Closing, Keeper, Keeping, Life, RunnerLimits
from synfarm_trainer.api.live import LiveRun
from synfarm_trainer.api.metrics_parts import MetricsParts
from synfarm_trainer.api.records import RunRecords, new_ulid
from synfarm_trainer.api.store_tail import StoreTail
from synfarm_trainer.api.stream import EventHub
from synfarm_trainer.launch.devices import CLUSTER


class _Adopted:
    """A launcher in whose cluster a start of every run is on its way."""

    outlives_service = True

    class child:
        attempt = 0

    def adopt(self, run: str) -> Any:
        return self.child


def test_segments_of_an_adopted_start_are_waited_for_only_as_long_as_the_service_stays(write_run: Any) -> None:
    store, run, closing, asked = MemoryStore(), new_ulid(), threading.Event(), []
    datasets = tuple(DatasetRef(job=new_ulid(), generation=1, manifest_sha256="0" * 64) for _ in range(2))
    write_run(store, datasets[0], run=run, datasets=datasets, weights=(3, 1))
    records = RunRecords(store)
    spec = records.spec(run)
    assert spec is not None
    records.open_attempt(run)

    def away(operation: str, key: str) -> None:
        if operation == "list" and key == layout.segments_prefix(run):
            asked.append(key)
            assert len(asked) < 3, "nobody sees that the service leaves"
            closing.set()
            raise StoreUnavailable("away")

    store.fault = away
    tools = Keeping(
        records=records,
        launcher=_Adopted(),  # type: ignore[arg-type]
        hub=EventHub(new_ulid()),
        open_tail=lambda run, attempt: StoreTail(records, MetricsParts(store), run, attempt, 0.0),
        limits=RunnerLimits(),
    )
    with pytest.raises(Closing):
        Keeper(spec, LiveRun(), CLUSTER, tools, Life(closing)).keep(lambda: None)
    assert len(asked) == 1


def test_a_store_that_hangs_keeps_nobody_from_following_a_run(
    service: Any, wait_for: Any, ended: Any, tmp_path: Path
) -> None:
    """A call may take minutes before the store counts as away: no sign of life for so long, and a supervisor would end
    the service, and with it a training that goes on without the store."""
    last, hangs, free = tmp_path / "last", threading.Event(), threading.Event()
    service.plan({"steps": 1, "end": "completed", "after": str(last)})

    def hang(operation: str, key: str) -> None:
        # As the service looks for what was asked of a run that trains.
        if operation == "head" and key.endswith("/stop.json"):
            hangs.set()
            assert free.wait(60.0)

    with service.open() as client:
        run = client.post("/v1/runs", json={"jobs": [service.add_job()]}).json()["run"]
        wait_for((service.state_dir / "runs" / run / "started-0").exists)
        service.store.fault = hang
        wait_for(hangs.is_set)
        last.touch()
        try:
            assert ended(client, run)["state"] == "completed"
        finally:
            free.set()
