"""What the service answers of a run that nobody follows here: its machine is dead, or another replica has it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from synfarm.contracts import layout
from synfarm.contracts.runs import (
    CheckpointCommit,
    CheckpointFile,
    RunAttempt,
    RunEnded,
    RunSpec,
    RunState,
    StepMetrics,
)
from synfarm.contracts.views import RunView
from synfarm_trainer.api.ranges import NoSuchRange, range_of
from synfarm_trainer.api.records import new_ulid

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
SEEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def run(service: Any) -> str:
    """A run that another machine has begun: its second start has told three steps."""
    run = new_ulid()
    spec = RunSpec.model_validate(
        {
            "run": run,
            "owner": "local",
            "created_at": BEGUN,
            "name": "r",
            "preset": "tiny",
            "datasets": [{"job": new_ulid(), "generation": 1, "manifest_sha256": "0" * 64}],
            "seed": 0,
            "ranks": 1,
            "config": {"schedule": {"steps": 200}},
        }
    )
    service.store.create(layout.run(run), spec.to_bytes())
    for number, resumed in ((0, 0), (1, 50)):
        attempt = RunAttempt(
            run=run, number=number, token=new_ulid(), started_at=BEGUN, host="gone", resumed_step=resumed
        )
        service.store.create(layout.attempt(run, number), attempt.to_bytes())
        lines = [_line(resumed + step + 1) for step in range(3)]
        service.store.put(layout.metrics_part(run, number, 0), b"\n".join(line.to_bytes() for line in lines))
    return run


def _line(step: int) -> StepMetrics:
    return StepMetrics(
        step=step,
        at=SEEN,
        epoch=0.5,
        losses={"contrastive": 1.5, "total": 2.0},
        loss_hex="0x0",
        batch_sha256="0" * 64,
        learning_rate=0.1,
        ema_momentum=0.9,
        seconds=2.0,
        data_wait_seconds=0.5,
        images_per_second=10.0,
    )


def _client(service: Any) -> TestClient:
    """Not entered: its runner never starts, as in a service whose machine is another one."""
    client: TestClient = service.open()
    return client


def test_the_view_tells_what_was_known_last_and_when(service: Any, run: str) -> None:
    client = _client(service)
    view = RunView.from_bytes(client.get(f"/v1/runs/{run}").content)
    assert (view.state, view.step, view.attempt, view.as_of) == (RunState.RUNNING, 53, 1, SEEN)
    assert view.eta_seconds == 147 * 2.0
    status = view.trainerStatus
    assert status is not None
    assert (status.progressPercentage, status.estimatedRemainingSeconds, status.lastUpdatedTime) == (26, 294, SEEN)
    told = {metric.name: metric.value for metric in status.metrics}
    assert told == {
        "currentStep": "53",
        "totalSteps": "200",
        "currentEpoch": "0.5",
        "loss": "2",
        "loss.contrastive": "1.5",
        "imagesPerSecond": "10",
    }
    assert [line["step"] for line in client.get(f"/v1/runs/{run}/metrics").json()["items"]] == [1, 2, 3, 51, 52, 53]
    service.store.put(layout.eval_record(run, 200, "knn.json"), b'{"top1": 0.25, "standard_error": 0.01}')
    ended = RunEnded(run=run, state=RunState.COMPLETED, step=200, ended_at=SEEN, evals={"200": {"knn": {"top1": 0.25}}})
    service.store.create(layout.run_ended(run), ended.to_bytes())
    view = RunView.from_bytes(client.get(f"/v1/runs/{run}").content)
    assert (view.state, view.step, view.eta_seconds, view.as_of) == (RunState.COMPLETED, 200, None, SEEN)
    assert view.trainerStatus is not None
    assert view.trainerStatus.progressPercentage == 100
    assert view.trainerStatus.metrics[-1].model_dump() == {"name": "eval.knn", "value": "0.25"}


def test_a_start_that_has_told_nothing_yet(service: Any, run: str) -> None:
    attempt = RunAttempt(run=run, number=2, token=new_ulid(), started_at=SEEN, host="gone", resumed_step=52)
    service.store.create(layout.attempt(run, 2), attempt.to_bytes())
    view = RunView.from_bytes(_client(service).get(f"/v1/runs/{run}").content)
    assert (view.state, view.step, view.resumed_step) == (RunState.STARTING, 52, 52)
    service.store.put(layout.run_stop(run), b"{}")
    assert _client(service).get(f"/v1/runs/{run}").json()["state"] == "stopping"


def test_checkpoints_tell_their_bytes_and_whether_they_are_whole(service: Any, run: str) -> None:
    for step, sizes in ((10, (4, 4)), (20, (4, 5)), (30, (4, None))):
        files = []
        for n, there in enumerate(sizes):
            key = layout.checkpoint_file(run, step, 0, f"part-{n}")
            files.append(CheckpointFile(key=key, sha256="0" * 64, size=4))
            if there is not None:
                service.store.put(key, b"x" * there)
        commit = CheckpointCommit(
            run=run, step=step, attempt=0, token=new_ulid(), world_size=1, files=tuple(files), committed_at=SEEN
        )
        service.store.put(layout.checkpoint_commit(run, step, 0), commit.to_bytes())
    items = _client(service).get(f"/v1/runs/{run}/checkpoints").json()["items"]
    assert [(item["step"], item["bytes"], item["whole"]) for item in items] == [
        (10, 8, True),
        (20, 8, False),
        (30, 8, False),
    ]


def test_downloads_go_on_where_they_broke_off(service: Any, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synfarm_trainer.api.artifacts._CHUNK", 3)
    service.store.put(layout.export_file(run, "backbone.safetensors"), b"0123456789")
    service.store.put(f"{layout.export_prefix(run)}..odd/name", b"x")
    client, path = _client(service), f"/v1/runs/{run}/artifacts/backbone.safetensors"
    (listed,) = client.get(f"/v1/runs/{run}/artifacts").json()["items"]
    assert listed["media_type"] == "application/octet-stream"
    whole = client.get(path)
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, b"0123456789", "bytes")
    assert whole.headers["content-disposition"] == 'attachment; filename="backbone.safetensors"'
    rest = client.get(path, headers={"Range": "bytes=4-", "If-Range": whole.headers["etag"]})
    assert (rest.status_code, rest.content, rest.headers["content-range"]) == (206, b"456789", "bytes 4-9/10")
    assert client.get(path, headers={"Range": "bytes=4-", "If-Range": '"another"'}).content == b"0123456789"
    assert client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    behind = client.get(path, headers={"Range": "bytes=10-"})
    assert (behind.status_code, behind.json()["code"]) == (416, "no_such_range")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("bytes=0-0", (0, 0)),
        ("bytes=2-", (2, 9)),
        ("bytes=2-99", (2, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-99", (0, 9)),
        ("bytes=0-1,4-5", None),
        ("bytes=5-2", None),
        ("lines=1-2", None),
        ("bytes=-", None),
    ],
)
def test_ranges(header: str | None, found: tuple[int, int] | None) -> None:
    assert range_of(header, 10) == found


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_ranges_behind_the_end(header: str, size: int) -> None:
    with pytest.raises(NoSuchRange):
        range_of(header, size)
