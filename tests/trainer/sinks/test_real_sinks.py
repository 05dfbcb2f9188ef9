"""The sinks with the libraries that they speak to; each is skipped where its extra is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunSpec
from synfarm_trainer.sinks.fan_out import Sinks
from synfarm_trainer.sinks.opening import SinkSettings, open_sinks
from synfarm_trainer.sinks.protocol import RunOpening

pytestmark = [
    pytest.mark.extras,
    pytest.mark.filterwarnings("default"),  # of libraries that we do not choose versions of
]
RUN = "01k" + "0" * 23


def _opening(attempt: int, resumed: int) -> RunOpening:
    dataset = {"job": RUN, "generation": 1, "manifest_sha256": "0" * 64}
    config = {"schedule": {"steps": 8}, "optim": {"lr": 0.001}}
    spec = RunSpec.model_validate(
        {"run": RUN, "owner": "ada", "created_at": utc_now(), "name": "r", "preset": "tiny", "datasets": [dataset]}
        | {"seed": 0, "ranks": 1, "config": config}
    )
    return RunOpening(spec, attempt, resumed, 8)


def _tell(sinks: Sinks, attempt: int, first: int, last: int, ending: str | None) -> None:
    sinks.begin(_opening(attempt, first - 1))
    for step in range(first, last + 1):
        sinks.write(
            "step",
            {"step": step, "epoch": 0.5, "losses": {"total": 10.0 * attempt + step}, "images_per_second": 32.0},
        )
    sinks.write("eval", {"name": "knn", "step": last, "top1": 0.25})
    if ending is not None:
        sinks.write("state", {"state": ending, "step": last})
    assert sinks.close(120)
    assert sinks.news() == {}


@pytest.fixture
def two_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run that reached step 6, was killed, and went on from step 4 to the end: in the sink of that name."""

    def tell(sink: str) -> None:
        monkeypatch.setenv("SYNFARM_TRAINER_SINKS", sink)
        for start in ((0, 1, 6, None), (1, 5, 8, "completed")):
            _tell(open_sinks(SinkSettings(), tmp_path), *start)

    return tell


def test_tensorboard_has_one_curve_of_both_starts(two_starts: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'synfarm[trainer-tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    two_starts("tensorboard")
    read = EventAccumulator(str(tmp_path / "tensorboard" / RUN))
    read.Reload()
    values = {event.step: event.value for event in read.Scalars("loss/total")}
    assert values == {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 15.0, 6: 16.0, 7: 17.0, 8: 18.0}
    assert len(read.Scalars("loss/total")) == 8, "what the first start told of steps 5 and 6 is purged"
    assert [event.value for event in read.Scalars("eval/knn/top1")][-1] == 0.25


def test_mlflow_has_one_run_of_both_starts(two_starts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install 'synfarm[trainer-mlflow]'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    two_starts("mlflow")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("synfarm")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "r")
    assert run.data.params["optim.lr"] == "0.001"
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss/total")].count(8) == 1
    assert run.data.metrics["loss/total"] == 18.0


def test_wandb_offline(two_starts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="pip install 'synfarm[trainer-wandb]'")
    for name, value in (("MODE", "offline"), ("CACHE_DIR", "cache"), ("CONFIG_DIR", "config"), ("DATA_DIR", "data")):
        monkeypatch.setenv(f"WANDB_{name}", value if name == "MODE" else str(tmp_path / value))
    two_starts("wandb")
    files = list((tmp_path / "wandb").glob(f"offline-run-*/run-{RUN}.wandb"))
    assert files
    assert b"loss/total" in b"".join(file.read_bytes() for file in files)
