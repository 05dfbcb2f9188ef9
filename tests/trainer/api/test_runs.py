"""Runs over HTTP: submission and its refusals, the life of a run, restarts, queueing, owners."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobState
from synfarm.contracts.runs import RunEnded, RunSpec
from synfarm.storage.protocol import StoreUnavailable

Ended = Callable[[TestClient, str], dict[str, Any]]
WaitFor = Callable[[Callable[[], Any]], Any]


def _post(client: TestClient, *jobs: str, **body: Any) -> Any:
    headers = body.pop("headers", None)
    return client.post("/v1/runs", json={"jobs": list(jobs), **body}, headers=headers)


def _run(client: TestClient, *jobs: str, **body: Any) -> str:
    answer = _post(client, *jobs, **body)
    assert answer.status_code == 201, answer.text
    run: str = answer.json()["run"]
    return run


def test_a_run_completes_and_tells_its_numbers(service: Any, ended: Ended) -> None:
    service.plan({"steps": 20, "end": "completed"})
    job = service.add_job()
    with service.open() as client:
        run = _run(client, job, overrides={"schedule.steps": 20, "schedule.warmup_steps": 2}, seed=7)
        view = ended(client, run)
        assert (view["state"], view["step"], view["total_steps"], view["percent"]) == ("completed", 20, 20, 100.0)
        page = client.get(f"/v1/runs/{run}/metrics", params={"since": 15}).json()
        assert [line["step"] for line in page["items"]] == [16, 17, 18, 19, 20]
        assert page["next_since"] == 20
        assert client.get("/v1/runs").json()["items"][0]["run"] == run
        told = client.get(f"/v1/runs/{run}/spec").json()
    assert told == json.loads(service.store.get(layout.run(run)))
    spec = RunSpec.from_bytes(service.store.get(layout.run(run)))
    assert (spec.seed, spec.config["schedule"]) == (7, {"steps": 20, "warmup_steps": 2})
    assert spec.datasets[0].job == job
    assert service.store.head(layout.pin(job, run)) is not None, "the pin stays until the run is deleted"
    assert RunEnded.from_bytes(service.store.get(layout.run_ended(run))).state == "completed"


def test_the_newest_generation_is_frozen(service: Any, ended: Ended) -> None:
    service.plan({"steps": 1, "end": "completed"})
    job = service.add_job(state=JobState.FAILED)
    service.end_job(job, JobState.COMPLETED_WITH_ERRORS, 500, 2)
    with service.open() as client:
        view = ended(client, _run(client, job))
    assert view["datasets"][0]["generation"] == 2


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"preset": "tiney"}, 422, "config_invalid", "preset"),
        ({"overrides": {"optim.lrr": 1}}, 422, "config_invalid", "overrides.optim.lrr"),
        ({"overrides": {"optim.lr": "high"}}, 422, "config_invalid", "overrides.optim.lr"),
        ({"ranks": 5}, 422, "ranks_do_not_divide_batch", "ranks"),
        ({"ranks": 16}, 422, "too_many_ranks", "ranks"),
        ({"nonsense": 1}, 422, "invalid_request", "nonsense"),
        ({"overrides": {"data.captions_per_batch": 500}}, 409, "too_few_captions", "jobs"),
    ],
)
def test_refusals_name_the_field_and_the_cure(
    service: Any, body: dict[str, Any], status: int, code: str, field: str
) -> None:
    job = service.add_job()
    with service.open() as client:
        answer = _post(client, job, **body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (status, code, field)
    assert problem["hint"]
    assert not list(service.store.list("runs/"))
    assert not list(service.store.list(layout.pins_prefix(job)))


def test_jobs_that_cannot_be_trained_on(service: Any) -> None:
    running, failed = service.add_job(state=None), service.add_job(state=JobState.FAILED)
    gone = service.add_job()
    service.store.create(layout.tombstone(gone), b"{}")
    with service.open() as client:
        codes = [_post(client, job).json()["code"] for job in (running, failed, gone, "0" * 26)]
        twice = _post(client, gone, gone).json()["code"]
    assert codes == ["job_not_finished", "job_not_usable", "job_not_found", "job_not_found"]
    assert twice == "job_twice"


def test_a_job_deleted_during_submission_leaves_no_run(service: Any) -> None:
    job = service.add_job()
    fault = []

    def delete_after_pin(operation: str, key: str) -> None:
        if operation == "create.answer" and key.startswith(layout.pins_prefix(job)) and not fault:
            fault.append(key)
            service.store.create(layout.tombstone(job), b"{}")

    service.store.fault = delete_after_pin
    with service.open() as client:
        assert _post(client, job).status_code == 404
    assert fault
    assert not list(service.store.list("runs/"))
    assert not list(service.store.list(layout.pins_prefix(job)))


def test_an_idempotency_key_makes_one_run(service: Any, ended: Ended) -> None:
    service.plan({"steps": 1, "end": "completed"})
    job = service.add_job()
    headers = {"Idempotency-Key": "k1"}
    with service.open() as client:
        first, second = (_run(client, job, headers=headers) for _ in range(2))
        ended(client, first)
        assert _run(client, job, headers=headers) == first == second
        other = _post(client, job, seed=1, headers=headers).json()
        assert other["code"] == "idempotency_key_reused"
        assert len(client.get("/v1/runs").json()["items"]) == 1


def test_a_replay_completes_a_half_made_run(service: Any, ended: Ended) -> None:
    service.plan({"steps": 1, "end": "completed"})
    job = service.add_job()
    headers = {"Idempotency-Key": "k1"}

    def cut_off_before_run(operation: str, key: str) -> None:
        if operation == "create" and key.endswith("run.json"):
            raise StoreUnavailable("cut off here")

    service.store.fault = cut_off_before_run
    with service.open() as client:
        answer = _post(client, job, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert "cut off here" not in answer.text, "what the store said may hold its address"
    service.store.fault = None
    pins = [info.key for info in service.store.list(layout.pins_prefix(job))]
    assert len(pins) == 1
    with service.open() as client:
        run = _run(client, job, headers=headers)
        ended(client, run)
    assert pins == [layout.pin(job, run)]


def test_a_pin_that_gc_drops_right_before_its_run_comes_to_be_is_there_again(service: Any, ended: Ended) -> None:
    service.plan({"steps": 1, "end": "completed"})
    job = service.add_job()

    def drop_pins(operation: str, key: str) -> None:
        if operation == "create" and key.endswith("run.json"):
            service.store.fault = None
            for info in list(service.store.list(layout.pins_prefix(job))):
                service.store.delete(info.key)

    service.store.fault = drop_pins
    with service.open() as client:
        run = _run(client, job)
        ended(client, run)
    assert [info.key for info in service.store.list(layout.pins_prefix(job))] == [layout.pin(job, run)]


def test_a_crash_goes_on_with_a_new_attempt(service: Any, ended: Ended, wait_for: WaitFor) -> None:
    go = service.state_dir / "go"
    service.plan({"steps": 10, "end": "die", "after": str(go)}, {"steps": 12, "from": 8, "end": "completed"})
    job = service.add_job()
    with service.open() as client:
        run = _run(client, job, overrides={"schedule.steps": 20, "schedule.warmup_steps": 2})
        wait_for(lambda: client.get(f"/v1/runs/{run}").json()["step"] == 10)
        service.checkpoint(run, 8, 0)
        go.touch()
        view = ended(client, run)
        assert (view["state"], view["attempt"], view["resumed_step"]) == ("completed", 1, 8)
        lines = client.get(f"/v1/runs/{run}/metrics").json()["items"]
        assert [line["step"] for line in lines] == list(range(1, 21))
        assert [c["step"] for c in client.get(f"/v1/runs/{run}/checkpoints").json()["items"]] == [8]
        assert (view["checkpoint"]["step"], view["checkpoint"]["bytes"]) == (8, 1)


def test_a_service_that_comes_back_tells_the_checkpoint_that_it_goes_on_from(service: Any, wait_for: WaitFor) -> None:
    service.plan({"steps": 9, "end": "hang"}, {"steps": 1, "from": 8, "end": "hang"})
    with service.open() as client:
        run = _run(client, service.add_job())
        wait_for(lambda: client.get(f"/v1/runs/{run}").json()["step"] == 9)
        service.checkpoint(run, 8, 0)
    with service.open() as client:
        view = wait_for(lambda: (found := client.get(f"/v1/runs/{run}").json())["attempt"] == 1 and found)
        assert (view["last_checkpoint"], view["checkpoint"]["step"]) == (8, 8)


def test_restarts_without_progress_end_in_failure_with_the_log(service: Any, ended: Ended) -> None:
    service.plan({"steps": 2, "end": "die"})
    with service.open() as client:
        run = _run(client, service.add_job())
        view = ended(client, run)
    assert view["state"] == "failed"
    assert view["attempt"] == 3, "three restarts after the first start"
    assert "a last word" in view["reason"]


def test_nan_is_not_tried_again(service: Any, ended: Ended) -> None:
    service.plan({"steps": 2, "end": "nan"})
    with service.open() as client:
        view = ended(client, _run(client, service.add_job()))
    assert (view["state"], view["attempt"], view["reason"]) == ("failed", 0, "nan: loss is nan")


@pytest.mark.parametrize("end", ["hang", "deaf"])
def test_stop_and_resume(service: Any, ended: Ended, wait_for: WaitFor, end: str) -> None:
    service.plan({"steps": 3, "end": end}, {"steps": 3, "from": 3, "end": "completed"})
    with service.open() as client:
        run = _run(client, service.add_job())
        assert client.post(f"/v1/runs/{run}/resume").status_code == 202, "resuming a run that goes on changes nothing"
        wait_for(lambda: client.get(f"/v1/runs/{run}").json()["step"] == 3)
        assert client.post(f"/v1/runs/{run}/stop").json()["state"] in {"stopping", "stopped"}
        assert ended(client, run)["state"] == "stopped"
        assert client.post(f"/v1/runs/{run}/stop").json()["state"] == "stopped"
        assert client.post(f"/v1/runs/{run}/resume").status_code == 202
        assert ended(client, run)["state"] == "completed"
        assert client.post(f"/v1/runs/{run}/resume").json()["code"] == "run_completed"


def test_runs_queue_and_a_queued_one_stops_at_once(service: Any, ended: Ended, wait_for: WaitFor) -> None:
    service.plan({"steps": 2, "end": "hang"})
    job = service.add_job()
    with service.open() as client:
        first, second, third = (_run(client, job, name=f"run {n}") for n in range(3))
        wait_for(lambda: client.get(f"/v1/runs/{first}").json()["state"] == "running")
        assert client.get(f"/v1/runs/{second}").json()["state"] == "queued"
        assert client.post(f"/v1/runs/{second}/stop").json()["state"] == "stopped"
        assert 'synfarm_trainer_runs{state="queued"} 1.0' in client.get("/metrics").text
        service.plan({"steps": 2, "end": "completed"}, run=third)
        client.post(f"/v1/runs/{first}/stop")
        assert ended(client, third)["state"] == "completed"
    assert not list(service.store.list(layout.attempts_prefix(second)))


def test_a_new_service_takes_up_unfinished_runs(service: Any, ended: Ended, wait_for: WaitFor) -> None:
    service.plan({"steps": 5, "end": "hang"}, {"steps": 3, "from": 4, "end": "completed"})
    job = service.add_job()
    with service.open() as client:
        run = _run(client, job)
        waiting = _run(client, job)
        service.plan({"steps": 1, "end": "completed"}, run=waiting)
        wait_for(lambda: client.get(f"/v1/runs/{run}").json()["step"] == 5)
        service.checkpoint(run, 4, 0)
    assert service.store.head(layout.run_ended(run)) is None, "a service that leaves does not end its run"
    with service.open() as client:
        view = ended(client, run)
        assert (view["state"], view["attempt"], view["resumed_step"], view["step"]) == ("completed", 1, 4, 7)
        assert ended(client, waiting)["state"] == "completed"


def test_owners(service: Any, two_users: dict[str, dict[str, str]], ended: Ended) -> None:
    service.plan({"steps": 1, "end": "completed"})
    job = service.add_job(owner="ada")
    with service.open() as client:
        assert _post(client, job).status_code == 401
        assert _post(client, job, headers=two_users["bob"]).json()["code"] == "job_not_found"
        run = _run(client, job, headers=two_users["ada"])
        paths = ["", "/spec", "/metrics", "/events", "/checkpoints", "/evals", "/artifacts", "/artifacts/backbone.json"]
        for path in paths:
            assert client.get(f"/v1/runs/{run}{path}").status_code == 401
            assert client.get(f"/v1/runs/{run}{path}", headers=two_users["bob"]).json()["code"] == "run_not_found"
        for action in ("stop", "resume"):
            answer = client.post(f"/v1/runs/{run}/{action}", headers=two_users["bob"])
            assert answer.json()["code"] == "run_not_found"
        assert client.get("/v1/runs", headers=two_users["bob"]).json()["items"] == []
        assert [r["run"] for r in client.get("/v1/runs", headers=two_users["root"]).json()["items"]] == [run]
        assert client.get("/healthz").status_code == 200
    assert RunSpec.from_bytes(service.store.get(layout.run(run))).owner == "ada"


def test_artifacts_and_pages(service: Any, ended: Ended) -> None:
    service.plan({"steps": 1, "end": "completed"})
    job = service.add_job()
    with service.open() as client:
        runs = [_run(client, job) for _ in range(3)]
        for run in runs:
            ended(client, run)
        service.store.put(layout.export_file(runs[0], "backbone.json"), b'{"a": 1}')
        service.store.put(layout.eval_record(runs[0], 0, "knn.json"), json.dumps({"top1": 0.5}).encode())
        assert client.get(f"/v1/runs/{runs[0]}/artifacts/backbone.json").json() == {"a": 1}
        (item,) = client.get(f"/v1/runs/{runs[0]}/artifacts").json()["items"]
        assert (item["name"], item["size"], item["media_type"]) == ("backbone.json", 8, "application/json")
        assert client.get(f"/v1/runs/{runs[0]}/artifacts/..%2Frun.json").status_code == 404
        assert client.get(f"/v1/runs/{runs[0]}/artifacts/.hidden").json()["code"] == "artifact_not_found"
        assert client.get(f"/v1/runs/{runs[0]}/evals").json() == {"evals": {"0": {"knn": {"top1": 0.5}}}}
        first = client.get("/v1/runs", params={"limit": 2}).json()
        second = client.get("/v1/runs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
        assert [r["run"] for r in first["items"] + second["items"]] == sorted(runs, reverse=True)
        assert second["next_cursor"] is None
        assert client.get("/v1/runs/not-an-id").json()["code"] == "invalid_request"


def test_the_service_never_loads_torch() -> None:
    code = "import sys, synfarm_trainer.__main__; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
