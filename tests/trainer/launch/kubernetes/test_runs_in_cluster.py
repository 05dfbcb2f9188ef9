"""The service over a cluster: a run's life as its JobSet, through losses of the API server and of the service."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_kubernetes import FakeApi
from fastapi.testclient import TestClient

from synfarm.auth import Authenticator
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, manifest_hash
from synfarm.contracts.runs import CheckpointCommit, CheckpointFile, StepMetrics
from synfarm.settings import AuthSettings
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.api.records import RunRecords, new_ulid
from synfarm_trainer.app import build_app
from synfarm_trainer.launch.kubernetes.connection import Connection
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings
from synfarm_trainer.launch.protocol import LauncherAway
from synfarm_trainer.settings import TrainerSettings

JOB = "01hzzzzzzzzzzzzzzzzzzzzzz0"


def _until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.02)
    return found


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    shared = {"job": JOB, "owner": "local", "created_at": utc_now(), "captions_per_unit": 8}
    store.create(layout.job(JOB), JobSpec(**shared, captions=500, concepts=(Concept(name="owl"),)).to_bytes())
    ended = Ended(
        job=JOB,
        generation=1,
        state=JobState.COMPLETED,
        planned=500,
        counts=Counts(captions=500),
        parts=(),
        manifest_sha256=manifest_hash([]),
        ended_at=utc_now(),
    )
    store.create(layout.ended(JOB, 1), ended.to_bytes())
    return store


class Ranks:
    """What the pods of a run leave in the store."""

    def __init__(self, store: MemoryStore, run: str) -> None:
        self.records, self.run = RunRecords(store), run
        self.attempt = self.records.open_attempt(run).number
        self.parts = 0

    def steps(self, first: int, last: int) -> None:
        lines = b"".join(
            StepMetrics(
                step=step,
                at=utc_now(),
                epoch=0.1,
                losses={"total": 1.0},
                loss_hex=(1.0).hex(),
                batch_sha256="0" * 64,
                learning_rate=0.1,
                ema_momentum=0.9,
                seconds=0.1,
                data_wait_seconds=0.0,
                images_per_second=10.0,
            ).to_bytes()
            + b"\n"
            for step in range(first, last + 1)
        )
        self.records.store.put(layout.metrics_part(self.run, self.attempt, self.parts), lines)
        self.parts += 1

    def checkpoint(self, step: int) -> None:
        commit = CheckpointCommit(
            run=self.run,
            step=step,
            attempt=self.attempt,
            token=new_ulid(),
            world_size=1,
            files=(CheckpointFile(key="x", sha256="0" * 64, size=1),),
            committed_at=utc_now(),
        )
        self.records.store.put(layout.checkpoint_commit(self.run, step, self.attempt), commit.to_bytes())


@pytest.fixture
def open_service(
    api: FakeApi, settings: KubernetesSettings, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], TestClient]:
    told = {**settings.model_dump(exclude_none=True), "url": api.url}
    for name, value in told.items():
        monkeypatch.setenv(f"SYNFARM_TRAINER_KUBERNETES_{name.upper()}", str(value))
    own = TrainerSettings(launcher="kubernetes", state_dir=tmp_path / "state", backoff_seconds=0.01, barren_restarts=1)

    def opened() -> TestClient:
        return TestClient(build_app(own, store, Authenticator(AuthSettings(), [])))

    return opened


def _submit(client: TestClient) -> str:
    answer = client.post("/v1/runs", json={"jobs": [JOB], "ranks": 2})
    assert answer.status_code == 201, answer.text
    run: str = answer.json()["run"]
    return run


def test_a_run_goes_on_through_losses_of_everything(
    api: FakeApi, store: MemoryStore, open_service: Callable[[], TestClient]
) -> None:
    api.holds = False
    with open_service() as client:
        run = _submit(client)
        name = f"run-{run}"

        def view() -> Any:
            return client.get(f"/v1/runs/{run}").json()

        _until(lambda: name in api.jobsets, "the JobSet is made")
        api.condition(name, "Suspended", "no quota")
        _until(lambda: view()["reason"] == "the cluster has suspended it: no quota", "the wait is told")
        assert view()["devices"] == "cluster"
        api.condition(name, "Suspended", status="False")
        api.ready(name)
        ranks = Ranks(store, run)
        ranks.steps(1, 8)
        ranks.checkpoint(6)
        _until(lambda: (view()["state"], view()["step"], view()["last_checkpoint"]) == ("running", 8, 6), "news")
        assert (view()["attempt"], view()["reason"]) == (1, None), "the ranks opened an attempt of their own"
        api.stop()
        _until(lambda: "does not answer" in (view()["reason"] or ""), "the loss is told")
        assert view()["state"] == "running"
        api.start()
        _until(lambda: view()["reason"] is None, "it is over")
    assert name in api.jobsets, "a service that leaves leaves its JobSets"
    with open_service() as client:
        ranks.steps(9, 10)
        _until(lambda: view()["step"] == 10, "the new service follows")
        assert [method for method, _ in api.asked].count("POST") == 1, "and starts nothing"
        first = api.jobsets[name]["metadata"]["uid"]
        api.terminated(name, 81, '{"reason": "lost_rank", "detail": "a peer was cut off"}')
        api.condition(name, "Failed", "jobset failed")
        _until(lambda: api.jobsets.get(name, {}).get("metadata", {}).get("uid", first) != first, "another start")
        assert view()["state"] == "starting"
        assert view()["resumed_step"] == 6
        api.ready(name)
        again = Ranks(store, run)
        assert again.attempt == view()["attempt"] + 1
        again.steps(7, 20)
        api.condition(name, "Completed")
        _until(lambda: view()["state"] == "completed", "its end")
        assert view()["step"] == 20
        assert [line["step"] for line in client.get(f"/v1/runs/{run}/metrics").json()["items"]] == list(range(1, 21))
    assert api.jobsets == {}


def test_a_stop_waits_for_the_pods_to_save(
    api: FakeApi, store: MemoryStore, open_service: Callable[[], TestClient]
) -> None:
    with open_service() as client:
        run = _submit(client)
        name = f"run-{run}"
        _until(lambda: name in api.jobsets, "the JobSet is made")
        client.post(f"/v1/runs/{run}/stop")
        _until(lambda: api.bodies, "it is deleted")
        assert client.get(f"/v1/runs/{run}").json()["state"] == "stopping"
        ranks = Ranks(store, run)
        ranks.checkpoint(5)
        api.let_go(name)
        _until(lambda: client.get(f"/v1/runs/{run}").json()["state"] == "stopped", "its end")
        assert client.get(f"/v1/runs/{run}").json()["step"] == 5


def test_a_stop_of_a_run_that_waits_here_ends_what_an_earlier_service_left_in_the_cluster(
    api: FakeApi, open_service: Callable[[], TestClient]
) -> None:
    with open_service() as client:
        run = _submit(client)
        _until(lambda: f"run-{run}" in api.jobsets, "the JobSet is made")
    client = open_service()  # not entered: no thread takes what is queued, as if all were busy
    client.post(f"/v1/runs/{run}/resume")
    assert client.post(f"/v1/runs/{run}/stop").json()["state"] == "stopping"
    api.let_go(f"run-{run}")
    assert client.post(f"/v1/runs/{run}/stop").json()["state"] == "stopped"


def test_a_run_that_can_never_be_started_can_be_stopped(
    api: FakeApi, open_service: Callable[[], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise LauncherAway("the service account lacks a right")

    monkeypatch.setattr(Connection, "create", refuse)
    with open_service() as client:
        run = _submit(client)
        _until(lambda: "lacks a right" in (client.get(f"/v1/runs/{run}").json()["reason"] or ""), "the wait is told")
        client.post(f"/v1/runs/{run}/stop")
        _until(lambda: client.get(f"/v1/runs/{run}").json()["state"] == "stopped", "its end")


def test_restarts_without_progress_end_with_the_pods_last_words(
    api: FakeApi, open_service: Callable[[], TestClient]
) -> None:
    api.holds = False
    with open_service() as client:
        run = _submit(client)
        name, seen = f"run-{run}", ""
        for _ in range(2):
            # The first start and the one restart that is borne.
            seen = _until(
                lambda old=seen: (uid := api.jobsets.get(name, {}).get("metadata", {}).get("uid")) != old and uid,
                "a start",
            )
            api.terminated(name, 1, "RuntimeError: boom")
            api.condition(name, "Failed", "jobset failed")
        view = _until(
            lambda: (found := client.get(f"/v1/runs/{run}").json())["state"] == "failed" and found, "it is given up"
        )
        assert "gave up after 2 starts" in view["reason"]
        assert view["reason"].endswith("RuntimeError: boom")
