"""``POST /v1/runs/{id}/weights``: what is refused, and that a run which trains starts again for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.mixing import MixChange
from synfarm.contracts.runs import RunState
from synfarm.contracts.segments import RunSegment, SegmentDataset, SegmentStream

WaitFor = Callable[[Callable[[], Any]], Any]
Ended = Callable[[TestClient, str], dict[str, Any]]
HANGS = {"steps": 2, "end": "hang"}


def _start(client: TestClient, jobs: list[str], **body: Any) -> str:
    answer = client.post("/v1/runs", json={"jobs": jobs, **body})
    assert answer.status_code == 201, answer.text
    run: str = answer.json()["run"]
    return run


def _begun(service: Any, run: str, jobs: list[str], groups: tuple[int, ...] = (400, 100)) -> None:
    """As the run's first rank writes it."""
    hashed = "0" * 64
    segment = RunSegment(
        run=run,
        number=0,
        attempt=0,
        token="01hzzzzzzzzzzzzzzzzzzzzzzz",
        why="begun",
        position=0,
        datasets=tuple(
            SegmentDataset(job=job, generation=1, parts=1, manifest_sha256=hashed, complete=True) for job in jobs
        ),
        streams=tuple(
            SegmentStream(datasets=(n,), weight=weight, groups=count, epoch=0, offset=0)
            for n, (weight, count) in enumerate(zip((3, 1), groups, strict=True))
        ),
        at=utc_now(),
    )
    service.store.create(layout.segment(run, 0), segment.to_bytes())


def _weights(client: TestClient, run: str, *weights: float) -> Any:
    return client.post(f"/v1/runs/{run}/weights", json={"weights": weights})


def test_a_run_that_trains_starts_again_with_other_weights(service: Any, wait_for: WaitFor, ended: Ended) -> None:
    service.plan(HANGS, {"steps": 3, "from": 2, "end": "completed"})
    jobs = [service.add_job(), service.add_job()]
    with service.open() as client:
        run = _start(client, jobs, weights=[0.75, 0.25])
        assert client.get(f"/v1/runs/{run}").json()["weights"] == [3, 1]
        started = service.state_dir / "runs" / run / "started-0"
        wait_for(started.exists)
        _begun(service, run, jobs)
        answer = _weights(client, run, 0.5, 0.5)
        assert (answer.status_code, answer.json()["weights"]) == (202, [1, 1])
        assert _weights(client, run, 2, 2).status_code == 202  # the same once more
        view = ended(client, run)
    assert (view["state"], view["attempt"], view["weights"]) == ("completed", 1, [1, 1])
    found = [MixChange.from_bytes(service.store.get(i.key)) for i in service.store.list(layout.mix_changes_prefix(run))]
    assert [(change.number, change.weights, change.by) for change in found] == [(0, (1, 1), "local")]


def test_a_change_does_not_count_as_a_restart_without_progress(service: Any, wait_for: WaitFor, ended: Ended) -> None:
    service.settings = {"barren_restarts": 0}
    service.plan(HANGS, HANGS, {"steps": 3, "from": 2, "end": "completed"})
    jobs = [service.add_job(), service.add_job()]
    with service.open() as client:
        run = _start(client, jobs, weights=[3, 1])
        for attempt, weights in enumerate(((1, 1), (1, 2))):
            wait_for((service.state_dir / "runs" / run / f"started-{attempt}").exists)
            _begun(service, run, jobs)
            assert _weights(client, run, *weights).status_code == 202
        assert ended(client, run)["state"] == "completed"


def test_a_checkpoint_that_outlasts_the_grace_does_not_count_either(
    service: Any, wait_for: WaitFor, ended: Ended
) -> None:
    """The start is killed for the change and has saved nothing since it began: it was healthy all the same."""
    service.settings = {"barren_restarts": 0, "grace_seconds": 0.2}
    service.plan({"steps": 2, "end": "deaf"}, {"steps": 3, "end": "completed"})
    jobs = [service.add_job(), service.add_job()]
    with service.open() as client:
        run = _start(client, jobs, weights=[3, 1])
        wait_for((service.state_dir / "runs" / run / "started-0").exists)
        _begun(service, run, jobs)
        assert _weights(client, run, 1, 1).status_code == 202
        view = ended(client, run)
    assert (view["state"], view["attempt"]) == ("completed", 1), view["reason"]


def test_a_stop_that_another_service_was_asked_for_ends_the_run(service: Any, wait_for: WaitFor, ended: Ended) -> None:
    service.plan(HANGS)
    with service.open() as client:
        run = _start(client, [service.add_job()])
        wait_for((service.state_dir / "runs" / run / "started-0").exists)
        service.store.put(layout.run_stop(run), b"{}")
        assert ended(client, run)["state"] == "stopped"


@pytest.mark.parametrize(
    ("weights", "status", "code"),
    [
        ([1], 422, "weights_invalid"),
        ([1, 0], 422, "weights_invalid"),
        ([0.123456789, 1], 422, "weights_invalid"),
        ([], 422, "invalid_request"),
        ([1, 9], 409, "too_few_captions"),
        ([9, 1], 202, None),
    ],
)
def test_weights_that_cannot_be(service: Any, weights: list[float], status: int, code: str | None) -> None:
    service.plan(HANGS)
    jobs = [service.add_job(), service.add_job()]
    with service.open() as client:
        run = _start(client, jobs, weights=[3, 1])
        _begun(service, run, jobs, groups=(400, 10))
        answer = _weights(client, run, *weights)
        assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
        if code is not None:
            assert answer.json()["field"].startswith("weights")


def test_runs_whose_weights_cannot_be_changed(service: Any, ended: Ended) -> None:
    service.plan({"steps": 1, "end": "completed"})
    jobs = [service.add_job(), service.add_job()]
    with service.open() as client:
        plain = _start(client, jobs)
        assert _weights(client, plain, 1, 1).json()["code"] == "run_without_weights"
        mixed = _start(client, jobs, weights=[1, 1])
        assert ended(client, mixed)["state"] == RunState.COMPLETED
        assert _weights(client, mixed, 1, 2).json()["code"] == "run_completed"
        assert _weights(client, "01hzzzzzzzzzzzzzzzzzzzzzzz", 1, 2).status_code == 404
        service.plan(HANGS)
        waits = _start(client, jobs, weights=[1, 1])
        answer = _weights(client, waits, 1, 2)
        assert (answer.status_code, answer.json()["code"]) == (409, "run_not_begun")


def test_foreign_objects_cost_neither_the_run_nor_its_change(service: Any, wait_for: WaitFor, ended: Ended) -> None:
    service.plan(HANGS, {"steps": 3, "from": 2, "end": "completed"})
    jobs = [service.add_job(), service.add_job()]
    with service.open() as client:
        run = _start(client, jobs, weights=[3, 1])
        for kind in ("weights", "segments"):
            service.store.put(f"runs/{run}/{kind}/notes.txt", b"mine")
        wait_for((service.state_dir / "runs" / run / "started-0").exists)
        _begun(service, run, jobs)
        assert _weights(client, run, 1, 1).status_code == 202
        assert [view["run"] for view in client.get("/v1/runs").json()["items"]] == [run]
        assert ended(client, run)["state"] == "completed"


def test_a_change_comes_behind_the_newest_though_one_before_it_is_missing(
    service: Any, wait_for: WaitFor, ended: Ended
) -> None:
    """As a backup that was cut short restores them; a number that is taken must not be tried for ever."""
    service.plan(HANGS)
    jobs = [service.add_job(), service.add_job()]
    with service.open() as client:
        run = _start(client, jobs, weights=[3, 1])
        wait_for((service.state_dir / "runs" / run / "started-0").exists)
        _begun(service, run, jobs)
        client.post(f"/v1/runs/{run}/stop")
        assert ended(client, run)["state"] == "stopped"
        second = MixChange(run=run, number=1, weights=(1, 2), by="local", at=utc_now())
        service.store.put(layout.mix_change(run, 1), second.to_bytes())
        assert _weights(client, run, 2, 1).json()["weights"] == [2, 1]
    assert service.store.head(layout.mix_change(run, 2)) is not None


def test_a_change_that_cannot_be_read_hides_no_other_run(service: Any) -> None:
    service.plan(HANGS)
    jobs = [service.add_job(), service.add_job()]
    with service.open() as client:
        other, run = _start(client, jobs), _start(client, jobs, weights=[3, 1])
        service.store.put(layout.mix_change(run, 0), b"{")
        assert [view["run"] for view in client.get("/v1/runs").json()["items"]] == [other]
        problem = client.get(f"/v1/runs/{run}").json()
        assert (problem["code"], problem["detail"][: len(run) + 5]) == ("record_malformed", f"runs/{run}")
