"""A trainer service over the in-memory store, with a stub in place of torchrun."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from synfarm.auth import Authenticator, KeyRecord, new_key
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, manifest_hash
from synfarm.contracts.runs import CheckpointCommit, CheckpointFile
from synfarm.settings import AuthSettings
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.api.records import new_ulid
from synfarm_trainer.app import build_app
from synfarm_trainer.launch.files import RunFiles
from synfarm_trainer.launch.leftovers import end_marked, mark_of
from synfarm_trainer.launch.local import LocalLauncher
from synfarm_trainer.settings import TrainerSettings

STUB = Path(__file__).with_name("stub_child.py")
FINAL = {"stopped", "completed", "failed"}


@dataclass
class Service:
    """Starts and restarts the service over one store and one state folder."""

    state_dir: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    keys: list[KeyRecord] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def plan(self, *attempts: dict[str, Any], run: str = "*") -> None:
        file = self.state_dir / "plan.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**known, run: attempts}))

    def open(self) -> TestClient:
        given: dict[str, Any] = {"backoff_seconds": 0.01, "grace_seconds": 5, "shutdown_grace_seconds": 3}
        given |= {"state_dir": self.state_dir, "lease_dir": self.state_dir / "leases"}
        settings = TrainerSettings(**{**given, **self.settings})

        def command(run: str, attempt: int, ranks: int, state_dir: Path) -> list[str]:
            plan = str(self.state_dir / "plan.json")
            return [sys.executable, str(STUB), run, str(attempt), str(state_dir), plan]

        launcher = LocalLauncher(RunFiles(self.state_dir), command=command)
        return TestClient(build_app(settings, self.store, Authenticator(AuthSettings(), self.keys), launcher=launcher))

    def add_job(
        self,
        owner: str = "local",
        state: JobState | None = JobState.COMPLETED,
        captions: int = 500,
        generation: int = 1,
    ) -> str:
        job = new_ulid()
        spec = JobSpec(
            job=job,
            owner=owner,
            created_at=utc_now(),
            captions_per_unit=8,
            captions=captions,
            concepts=(Concept(name="owl"),),
        )
        self.store.create(layout.job(job), spec.to_bytes())
        if state is not None:
            self.end_job(job, state, captions, generation)
        return job

    def end_job(self, job: str, state: JobState, captions: int, generation: int) -> None:
        ended = Ended(
            job=job,
            generation=generation,
            state=state,
            planned=captions,
            counts=Counts(captions=captions),
            parts=(),
            manifest_sha256=manifest_hash([]),
            ended_at=utc_now(),
        )
        self.store.create(layout.ended(job, generation), ended.to_bytes())

    def checkpoint(self, run: str, step: int, attempt: int) -> None:
        commit = CheckpointCommit(
            run=run,
            step=step,
            attempt=attempt,
            token=new_ulid(),
            world_size=1,
            files=(CheckpointFile(key="x", sha256="0" * 64, size=1),),
            committed_at=utc_now(),
        )
        self.store.put(layout.checkpoint_commit(run, step, attempt), commit.to_bytes())


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    for folder in (tmp_path / "runs").glob("*"):
        end_marked(mark_of(tmp_path, folder.name))


@pytest.fixture
def wait_for() -> Callable[[Callable[[], Any]], Any]:
    def wait(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)
        return found

    return wait


@pytest.fixture
def ended(wait_for: Callable[[Callable[[], Any]], Any]) -> Callable[[TestClient, str], dict[str, Any]]:
    def wait(client: TestClient, run: str) -> dict[str, Any]:
        def view() -> dict[str, Any] | None:
            found = client.get(f"/v1/runs/{run}").json()
            return found if found["state"] in FINAL else None

        result: dict[str, Any] = wait_for(view)
        return result

    return wait


@pytest.fixture
def two_users(service: Service) -> dict[str, dict[str, str]]:
    headers = {}
    for owner, role in (("ada", "user"), ("bob", "user"), ("root", "admin")):
        key, record = new_key(owner, role)  # type: ignore[arg-type]
        service.keys.append(record)
        headers[owner] = {"Authorization": f"Bearer {key}"}
    return headers
