"""``python -m synfarm_trainer`` as a child that may be killed, asked to leave, and started again on its port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from synfarm.local.ports import HeldPorts
from synfarm.settings import StoreSettings
from synfarm.trust import trust_for
from synfarm_trainer.launch.leftovers import end_marked, mark_of, marked

__all__ = ["FINAL", "SMALL_RUN", "TrainerService", "until"]

FINAL = {"completed", "failed", "stopped"}
SMALL_RUN: dict[str, object] = {
    "data.captions_per_batch": 12,
    "data.cell_captions": 2,
    "augment.size": 16,
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
    "schedule.warmup_steps": 2,
    "execution.threads": 1,
}
"""Every term of the method on a very small network: overrides of `tiny`."""


def until(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.08)
    return found


class TrainerService:
    """The service, and what a test asks of it over HTTP."""

    def __init__(self, folder: Path, store: StoreSettings, endpoint: str, extra: Mapping[str, str]) -> None:
        """
        Args:
            endpoint: of the store as the service and its ranks see it, which may be a proxy's.
        """
        self._held = HeldPorts(1)
        self.folder, self.url = folder, f"http://127.0.0.1:{self._held.numbers[0]}"
        self._trust = trust_for(self.url)
        self._env = {
            **os.environ,
            "SYNFARM_STORE_ENDPOINT": endpoint,
            "SYNFARM_STORE_ACCESS_KEY": store.access_key.get_secret_value(),
            "SYNFARM_STORE_SECRET_KEY": store.secret_key.get_secret_value(),
            "SYNFARM_STORE_BUCKET": store.bucket,
            "SYNFARM_STORE_PREFIX": store.prefix,
            "SYNFARM_TRAINER_PORT": self.url.rsplit(":", 1)[1],
            "SYNFARM_TRAINER_STATE_DIR": str(folder),
            "SYNFARM_TRAINER_BACKOFF_SECONDS": "0.1",
            "OMP_NUM_THREADS": "1",
            **extra,
        }
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "synfarm_trainer"], env=self._env, stdout=log, stderr=subprocess.STDOUT
            )
        until(self._ready, "the service is ready", 90)

    def _ready(self) -> bool:
        assert self.process.poll() is None, (self.folder / "service.log").read_text()[-4000:]
        try:
            return httpx.get(self.url + "/readyz", timeout=60, verify=self._trust).status_code == 200
        except httpx.TransportError:
            return False

    def leave(self, number: signal.Signals) -> None:
        """Send it a signal and wait until it has gone, with all that it started."""
        self.process.send_signal(number)
        self.process.wait(60)
        until(lambda: not self._children(), "agent and ranks are gone with the service", 30)

    def close(self) -> None:
        """SIGKILL, and nothing of it is left."""
        self.process.kill()
        self.process.wait()
        for run in self._runs():
            end_marked(mark_of(self.folder, run))

    def submit(self, job: str, ranks: int, overrides: Mapping[str, object]) -> str:
        body = {"jobs": [job], "overrides": overrides, "ranks": ranks, "seed": 7}
        answer = httpx.post(self.url + "/v1/runs", json=body, timeout=60, verify=self._trust)
        assert answer.status_code == 201, answer.text
        run: str = answer.json()["run"]
        return run

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=60, verify=self._trust).raise_for_status().json()

    def view(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/v1/runs/{run}")
        return found

    def end(self, run: str, seconds: float) -> dict[str, Any]:
        """The view of the run once it has ended."""

        def ended() -> dict[str, Any] | None:
            view = self.view(run)
            return view if view["state"] in FINAL else None

        found: dict[str, Any] = until(ended, f"run {run} ends", seconds)
        return found

    def metrics(self, run: str) -> dict[int, dict[str, Any]]:
        """Every step's record."""
        found: dict[int, dict[str, Any]] = {}
        while items := self.get(f"/v1/runs/{run}/metrics?since={max(found, default=0)}")["items"]:
            found |= {line["step"]: line for line in items}
        return found

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

    def _runs(self) -> list[str]:
        return [folder.name for folder in (self.folder / "runs").glob("*")]

    def _children(self) -> list[int]:
        return [pid for run in self._runs() for pid in marked(mark_of(self.folder, run))]
