"""Kill -9 of a rank, of torchrun's agent and of the service, with real processes and a real store.

A fault hook stops the first rank that reaches step 8, after the checkpoints of steps 3 and 6, so that every kill
falls inside work. The undisturbed run comes second, from the same service, with the same request.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.local.ports import HeldPorts
from synfarm.settings import StoreSettings
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.launch.leftovers import end_marked, mark_of, marked

SMALL: dict[str, object] = {
    "data.captions_per_batch": 12,
    "data.block_shards": 3,
    "augment.size": 16,
    "data.cell_captions": 2,
    "local_crops.count": 2,
    "local_crops.size": 8,
    "model.width": 32,
    "model.depth": 2,
    "model.heads": 2,
    "model.drop_path": 0.2,
    "objective.head_hidden": 32,
    "objective.head_out": 16,
    "objective.ibot_weight": 1.0,
    "objective.prototypes": 24,
    "objective.patch_hidden": 32,
    "objective.patch_bottleneck": 16,
    "schedule.steps": 12,
    "schedule.warmup_steps": 2,
    "checkpoint.every_steps": 3,
    "eval.bootstrap": 50,
    "execution.threads": 1,
}


_MORE = [("rank", 1), ("rank", 2), ("rank", 3), ("agent", 2), ("agent", 3), ("service", 1), ("service", 3)]
"""The other pairs, `make test-long`; `test_torchrun.py` kills a rank at 1, 2 and 4 ranks in `make test`."""


def _until(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.05)
    return found


class Service:
    """``python -m synfarm_trainer`` as a child that may be killed and started again."""

    def __init__(self, folder: Path, store: StoreSettings, fault: str) -> None:
        # Held: the service is killed and comes back to the same port.
        self.held = HeldPorts(1)
        self.folder, self.url = folder, f"http://127.0.0.1:{self.held.numbers[0]}"
        self.env = {
            **os.environ,
            "SYNFARM_STORE_ENDPOINT": store.endpoint,
            "SYNFARM_STORE_ACCESS_KEY": store.access_key.get_secret_value(),
            "SYNFARM_STORE_SECRET_KEY": store.secret_key.get_secret_value(),
            "SYNFARM_STORE_BUCKET": store.bucket,
            "SYNFARM_STORE_PREFIX": store.prefix,
            "SYNFARM_TRAINER_PORT": self.url.rsplit(":", 1)[1],
            "SYNFARM_TRAINER_STATE_DIR": str(folder),
            "SYNFARM_TRAINER_BACKOFF_SECONDS": "0.1",
            "SYNFARM_FAULTS": fault,
            "OMP_NUM_THREADS": "1",
        }
        self.start()

    def start(self) -> None:
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "synfarm_trainer"], env=self.env, stdout=log, stderr=subprocess.STDOUT
            )
        _until(self._ready, "the service is ready", 60)

    def _ready(self) -> bool:
        assert self.process.poll() is None, (self.folder / "service.log").read_text()
        try:
            return httpx.get(self.url + "/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=30).raise_for_status().json()

    def submit(self, job: str, ranks: int) -> str:
        body = {"jobs": [job], "overrides": SMALL, "ranks": ranks, "seed": 7}
        answer = httpx.post(self.url + "/v1/runs", json=body, timeout=30)
        assert answer.status_code == 201, answer.text
        run: str = answer.json()["run"]
        return run

    def end(self, run: str) -> Any:
        def view() -> Any:
            found = self.get(f"/v1/runs/{run}")
            return found if found["state"] in {"completed", "failed", "stopped"} else None

        return _until(view, "the run ends", 150)

    def losses(self, run: str) -> dict[int, tuple[str, str]]:
        items = self.get(f"/v1/runs/{run}/metrics")["items"]
        return {line["step"]: (line["loss_hex"], line["batch_sha256"]) for line in items}

    def processes(self, run: str) -> tuple[list[int], list[int]]:
        """(agents, ranks) of a run."""
        agents, ranks = [], []
        for pid in marked(mark_of(self.folder, run)):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
                continue
            (agents if b"synfarm_trainer.launch" in words else ranks).append(pid)
        return agents, ranks


@pytest.fixture
def start_service(
    tmp_path: Path, store: ObjectStore, store_settings: StoreSettings
) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def start(fault: str) -> Service:
        started.append(Service(tmp_path, store_settings, fault))
        return started[-1]

    yield start
    for service in started:
        service.process.kill()
        service.process.wait()
    for folder in (tmp_path / "runs").glob("*"):
        end_marked(mark_of(tmp_path, folder.name))


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.parametrize(
    ("victim", "ranks"),
    [
        ("agent", 1),
        ("service", 2),
        *(pytest.param(victim, ranks, marks=pytest.mark.long) for victim, ranks in _MORE),
    ],
)
def test_a_killed_run_goes_on_as_it_would_have(
    victim: str,
    ranks: int,
    tmp_path: Path,
    store: ObjectStore,
    write_dataset: Callable[..., Any],
    start_service: Callable[..., Service],
) -> None:
    job = write_dataset(store).job
    spec = JobSpec(
        job=job,
        owner="local",
        created_at=utc_now(),
        captions_per_unit=8,
        captions=64,
        concepts=(Concept(name="thing"),),
    )
    store.create(layout.job(job), spec.to_bytes())
    marker = tmp_path / "fell"
    service = start_service(f"train.step:unit=8:stop:{marker}")
    run = service.submit(job, ranks)
    _until(marker.exists, "step 8 is reached")

    def fell_at_step_8() -> bool:
        # Another rank may have been stopped while rank 0 still writes step 7 into the journal that the service follows.
        # The upload of step 6 may have been stopped too; that of step 3 had ended before it began.
        view = service.get(f"/v1/runs/{run}")
        assert (view["step"] <= 7, view["attempt"]) == (True, 0), view
        return view["state"] == "running" and view["step"] == 7 and view["last_checkpoint"] in {3, 6}

    _until(fell_at_step_8, "step 7 and a checkpoint are known")
    agents, rank_pids = service.processes(run)
    assert (len(agents), len(rank_pids)) == (1, ranks)
    if victim == "service":
        service.process.kill()
        service.process.wait()
        _until(lambda: service.processes(run) == ([], []), "agent and ranks die with the service", 15)
        service.start()
    else:
        os.kill(agents[0] if victim == "agent" else int(marker.read_text().split()[0]), signal.SIGKILL)
    after = service.end(run)
    assert (after["state"], after["step"], after["attempt"]) == ("completed", 12, 1), after
    assert after["resumed_step"] in {3, 6}
    assert service.processes(run) == ([], []), "no process of an earlier start survives"
    undisturbed = service.submit(job, ranks)
    assert service.end(undisturbed)["attempt"] == 0
    calm = service.losses(undisturbed)
    assert sorted(calm) == list(range(1, 13))
    assert service.losses(run) == calm
    assert set(after["evals"]) == {"0", "12"}
