"""Device-seconds of runs: ranks times time, by kind, also while a run goes on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from synfarm_trainer.api.held_devices import HeldDevices, kind_of
from synfarm_trainer.launch.devices import ALL, CLUSTER, DeviceSet


def _spec(run: str = "r", ranks: int = 1, device: str = "auto") -> Any:
    return cast(Any, SimpleNamespace(run=run, ranks=ranks, config={"execution": {"device": device}}))


def test_seconds_of_runs_that_ended_and_of_those_that_go_on() -> None:
    now = [0.0]
    held = HeldDevices(lambda: now[0])
    with suppress(RuntimeError), held.by(_spec("a", ranks=4), DeviceSet("0,1", ("0", "1"))):
        now[0] = 10
        assert held.seconds() == {"cpu": 0, "gpu": 40}
        with held.by(_spec("b", device="cpu"), ALL):
            now[0] = 15
        raise RuntimeError("the run failed")
    now[0] = 100
    assert held.seconds() == {"cpu": 5, "gpu": 60}


def test_the_kind_is_what_the_ranks_find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert kind_of(_spec(), DeviceSet("cpu")) == "cpu"
    assert kind_of(_spec(device="cpu"), CLUSTER) == "cpu"
    assert kind_of(_spec(), CLUSTER) == "gpu"
    assert kind_of(_spec(device="cuda"), ALL) == "gpu"
    monkeypatch.setattr("synfarm_trainer.api.held_devices._NODES", tmp_path)
    assert kind_of(_spec(), ALL) == "cpu"
    (tmp_path / "nvidia0").touch()
    assert kind_of(_spec(), ALL) == "gpu"
