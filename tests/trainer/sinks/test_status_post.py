"""The status that is posted has the form that a Kubeflow TrainJob's endpoint takes (KEP-2779)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunSpec
from synfarm_trainer.sinks.protocol import RunOpening
from synfarm_trainer.sinks.status_post import StatusPost

RUN = "01k" + "0" * 23


def _opening() -> RunOpening:
    dataset = {"job": RUN, "generation": 1, "manifest_sha256": "0" * 64}
    spec = RunSpec.model_validate(
        {"run": RUN, "owner": "ada", "created_at": utc_now(), "name": "r", "preset": "tiny", "datasets": [dataset]}
        | {"seed": 0, "ranks": 1, "config": {}}
    )
    return RunOpening(spec, 0, 0, 100)


def _step(step: int) -> dict[str, Any]:
    return {"step": step, "epoch": 0.5, "losses": {"total": 2.0}, "seconds": 2.0, "images_per_second": 32.0}


def test_the_newest_numbers_are_posted_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    token = tmp_path / "token"
    token.write_text("first\n")
    sink = StatusPost(
        "https://trainer.example/status",
        _opening(),
        seconds=3600,
        token_file=token,
        transport=httpx.MockTransport(answer),
    )
    sink.write("state", {"state": "running", "step": 0})
    token.write_text("second\n")
    for step in range(1, 46):
        sink.write("step", _step(step))
    sink.write("eval", {"name": "knn", "step": 45, "top1": 0.25})
    sink.close()
    assert [request.headers["authorization"] for request in asked] == ["Bearer first", "Bearer second"]
    (begun, told) = (json.loads(request.content) for request in asked)
    assert begun["trainerStatus"]["progressPercentage"] == 0
    assert "estimatedRemainingSeconds" not in begun["trainerStatus"]
    status = told["trainerStatus"]
    assert (status["progressPercentage"], status["estimatedRemainingSeconds"]) == (45, 110)
    metrics = {metric["name"]: metric["value"] for metric in status["metrics"]}
    assert (metrics["loss"], metrics["currentStep"], metrics["eval.knn"]) == ("2", "45", "0.25")
    assert set(status) == {"progressPercentage", "estimatedRemainingSeconds", "metrics", "lastUpdatedTime"}


def test_posts_that_fail_are_left_out_until_too_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synfarm_trainer.sinks.status_post._MOST_FAILURES", 3)
    answers = iter([503, 503, 200, 503, 503, 503])
    transport = httpx.MockTransport(lambda request: httpx.Response(next(answers)))
    sink = StatusPost("https://trainer.example/status", _opening(), seconds=1e-9, transport=transport)
    for step in range(1, 6):
        sink.write("step", _step(step))
    with pytest.raises(httpx.HTTPStatusError):
        sink.write("step", _step(6))
    sink.close()
