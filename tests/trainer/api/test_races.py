"""Requests that meet a run at the moment at which it ends, or a store that goes away between two of its objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from synfarm.contracts import layout
from synfarm.storage.protocol import StoreUnavailable

Ended = Callable[[TestClient, str], dict[str, Any]]
WaitFor = Callable[[Callable[[], Any]], Any]


def _run(client: TestClient, job: str) -> str:
    run: str = client.post("/v1/runs", json={"jobs": [job]}).json()["run"]
    return run


def _state(client: TestClient, run: str) -> str:
    state: str = client.get(f"/v1/runs/{run}").json()["state"]
    return state


def test_a_resume_between_the_record_of_the_end_and_the_next_run_is_not_lost(service: Any, ended: Ended) -> None:
    service.plan({"steps": 1, "end": "nan"}, {"steps": 1, "end": "completed"})
    answers: list[int] = []

    def resume_at_once(operation: str, key: str) -> None:
        if operation == "create.answer" and key.endswith("/ended.json") and not answers:
            answers.append(0)
            answers[0] = client.post(f"/v1/runs/{layout.parse_run(key)}/resume").status_code

    service.store.fault = resume_at_once
    with service.open() as client:
        assert ended(client, _run(client, service.add_job()))["state"] == "completed"
    assert answers == [202]


def test_a_run_that_ends_while_a_resume_is_answered_is_not_started_again(
    service: Any, ended: Ended, wait_for: WaitFor, tmp_path: Path
) -> None:
    last = tmp_path / "last"
    service.plan({"steps": 1, "end": "completed", "after": str(last)})
    with service.open() as client:
        run = _run(client, service.add_job())
        wait_for(lambda: _state(client, run) == "running")

        def end_now(operation: str, key: str) -> None:
            # The request has seen no end, and asks for a stop.
            if operation == "head" and key == layout.run_stop(run) and not last.exists():
                last.touch()
                wait_for(lambda: _state(client, run) == "completed")

        service.store.fault = end_now
        assert client.post(f"/v1/runs/{run}/resume").status_code == 202
        assert last.exists()
        assert ended(client, run)["state"] == "completed"
    assert len(list(service.store.list(layout.attempts_prefix(run)))) == 1


def test_a_stop_of_a_queued_run_survives_the_loss_of_the_store(service: Any, ended: Ended, wait_for: WaitFor) -> None:
    service.plan({"steps": 1, "end": "hang"})
    job = service.add_job()
    with service.open() as client:
        first = _run(client, job)
        wait_for(lambda: _state(client, first) == "running")
        second = _run(client, job)

        def away(operation: str, key: str) -> None:
            if operation == "create" and key == layout.run_ended(second):
                raise StoreUnavailable("away")

        service.store.fault = away
        assert client.post(f"/v1/runs/{second}/stop").status_code == 503
        service.store.fault = None
        assert client.post(f"/v1/runs/{second}/stop").json()["state"] == "stopped"
        client.post(f"/v1/runs/{first}/stop")
        assert ended(client, first)["state"] == "stopped"


def test_a_resume_survives_the_loss_of_the_store(service: Any, ended: Ended) -> None:
    service.plan({"steps": 1, "end": "hang"}, {"steps": 1, "end": "completed"})
    with service.open() as client:
        run = _run(client, service.add_job())
        client.post(f"/v1/runs/{run}/stop")
        assert ended(client, run)["state"] == "stopped"

        def away(operation: str, key: str) -> None:
            if operation == "delete" and key == layout.run_stop(run):
                raise StoreUnavailable("away")

        service.store.fault = away
        assert client.post(f"/v1/runs/{run}/resume").status_code == 503
        service.store.fault = None
        assert ended(client, run)["state"] == "stopped", "it can be asked for again"
        assert client.post(f"/v1/runs/{run}/resume").status_code == 202
        assert ended(client, run)["state"] == "completed"


def test_a_stream_of_a_resumed_run_that_waits_does_not_end(service: Any, ended: Ended, wait_for: WaitFor) -> None:
    service.plan({"steps": 1, "end": "hang"}, {"steps": 1, "end": "completed"})
    job = service.add_job()
    with service.open() as client:
        run = _run(client, job)
        wait_for(lambda: _state(client, run) == "running")
        client.post(f"/v1/runs/{run}/stop")
        assert ended(client, run)["state"] == "stopped"
        other = _run(client, job)
        wait_for(lambda: _state(client, other) == "running")
        assert client.post(f"/v1/runs/{run}/resume").json()["state"] == "queued"

        def stop_other(operation: str, key: str) -> None:
            # Asked for by the first event of the stream below: the run's turn comes only then.
            if operation == "get" and key == layout.run(run):
                service.store.fault = None
                client.post(f"/v1/runs/{other}/stop")

        service.store.fault = stop_other
        text = client.get(f"/v1/runs/{run}/events").text
        assert text.rstrip().splitlines()[-1].count('"state":"completed"') == 1, text


@pytest.mark.parametrize("lost", ["the run", "its answer", "its end"])
def test_a_run_whose_request_loses_the_store_half_way_is_taken_up(
    service: Any, ended: Ended, wait_for: WaitFor, lost: str
) -> None:
    service.plan({"steps": 1, "end": "completed"})
    gone: list[str] = []

    def lose(operation: str, key: str) -> None:
        if lost == "the run" and operation == "create" and "/pins/" in key and _is_made(service, key):
            gone.append(key)
        if lost == "its answer" and operation == "create.answer" and key.endswith("/run.json"):
            gone.append(key)
        if lost == "its end" and operation == "get" and key.endswith("/ended.json"):
            gone.append(key)
        if gone:
            raise StoreUnavailable("away")

    job = service.add_job()
    with service.open() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200)
        service.store.fault = lose
        assert client.post("/v1/runs", json={"jobs": [job]}).status_code == 503
        assert gone
        service.store.fault = None
        (run,) = (item["run"] for item in client.get("/v1/runs").json()["items"])
        assert ended(client, run)["state"] == "completed"


def _is_made(service: Any, pin: str) -> bool:
    return bool(service.store._objects.get(layout.run(pin.rpartition("/")[2])))
