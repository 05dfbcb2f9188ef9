"""What Prometheus reads of a run while it goes on, and that nothing is left of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from synfarm.contracts.runs import RunState
from synfarm_trainer.api.gauges import RunGauges
from synfarm_trainer.api.held_devices import HeldDevices
from synfarm_trainer.api.journal import JournalLine
from synfarm_trainer.api.live import LiveRun
from synfarm_trainer.step_time import Laps

Labels = frozenset[tuple[str, str]]


def _scrape(client: Any) -> dict[tuple[str, Labels], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_a_run_is_told_by_its_id_until_it_ends(
    service: Any, ended: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    service.plan({"steps": 4, "end": "hang"})
    with service.open() as client:
        run = client.post("/v1/runs", json={"jobs": [service.add_job()]}).json()["run"]
        waiting = client.post("/v1/runs", json={"jobs": [service.add_job()]}).json()["run"]
        wait_for(lambda: client.get(f"/v1/runs/{run}").json()["step"] == 4)
        told = _scrape(client)

        def value(name: str, **labels: str) -> float:
            return told[f"synfarm_trainer_{name}", frozenset(labels.items())]

        assert value("runs", state="running") == value("runs", state="queued") == 1
        assert value("run_step", run=run) == 4
        assert value("run_images_per_second", run=run) == 100
        assert value("run_images_total", run=run) == 4 * 0.5 * 100
        assert value("run_data_wait_share", run=run) == 0.2
        assert value("run_mfu", run=run) == 0.4
        assert value("run_loss", run=run, term="total") == 0.25
        assert value("run_monitor", run=run, monitor="gradient_norm") == 3
        assert value("run_reading_total", run=run, of="bytes") == 1000
        parts = {"data": 0.4, "gradients": 1.0, "update": 0.2, "other": 0.4}
        assert {part: value("run_step_seconds_total", run=run, part=part) for part in parts} == pytest.approx(parts)
        assert ("synfarm_trainer_run_checkpoint_step", frozenset({("run", run)})) not in told, "there is none yet"
        assert not [labels for _, labels in told if ("run", waiting) in labels], "what waits has no numbers"
        client.post(f"/v1/runs/{waiting}/stop")
        client.post(f"/v1/runs/{run}/stop")
        ended(client, run)
        assert not [labels for _, labels in _scrape(client) if ("run", run) in labels]


def test_laps_are_the_whole_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 13.0, 13.5, 15.0])
    monkeypatch.setattr("synfarm_trainer.step_time.time.perf_counter", lambda: next(now))
    laps = Laps(since=8.0, waited=1.5)
    for part in ("gradients", "exchange", "update"):
        laps.end(part)
    assert laps.seconds == {"data": 1.5, "between": 0.5, "gradients": 3.0, "exchange": 0.5, "update": 1.5}
    assert sum(laps.seconds.values()) == 15.0 - 8.0


def test_checkpoints_are_told_with_what_they_cost() -> None:
    live = LiveRun()
    step = {
        "step": 4,
        "at": "2026-01-01T00:00:00Z",
        "epoch": 0.1,
        "losses": {"total": 1.0},
        "loss_hex": "0x1",
        "batch_sha256": "0" * 64,
        "learning_rate": 0.1,
        "ema_momentum": 0.9,
        "seconds": 2.0,
        "data_wait_seconds": 0.0,
        "checkpoint_seconds": 0.5,
        "images_per_second": 1.0,
        "split": {"between": 0.75, "gradients": 1.0},
    }
    saved = {"step": 3, "attempt": 0, "bytes": 900, "stall_seconds": 0.5, "upload_seconds": 4.0}
    at = "2026-01-01T00:00:00Z"
    live.fold(JournalLine.model_validate({"type": "checkpoint", "at": at, "data": {**saved, "committed_at": at}}))
    live.fold(JournalLine.model_validate({"type": "state", "at": at, "data": {"state": "running"}}))
    live.change(state=RunState.STARTING)
    live.fold(JournalLine.model_validate({"type": "step", "at": at, "data": step}))
    runner = SimpleNamespace(restarts=0, age=0.0, held=HeldDevices(), snapshots=lambda: {"r": live.now})
    samples = [sample for family in RunGauges(runner).collect() for sample in family.samples]
    told = {
        (sample.name.removeprefix("synfarm_trainer_run_"), *sorted(sample.labels.items())): sample.value
        for sample in samples
    }
    run = ("run", "r")
    assert told["checkpoint_step", run] == 3
    assert told["checkpoint_bytes", run] == 900
    assert (told["checkpoint_stall_seconds", run], told["checkpoint_upload_seconds", run]) == (0.5, 4.0)
    parts = {"between": 0.25, "checkpoint": 0.5, "gradients": 1.0, "other": 0.25}
    assert {part: told["step_seconds_total", ("part", part), run] for part in parts} == parts
