"""Runs by way of this server: one origin, the visitor's own key passed on, the trainer's errors in its own words."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from typing import Any

import pytest

from synfarm.contracts.base import utc_now
from synfarm.contracts.problems import ProblemError
from synfarm_caption_api.web.job_form import BadForm
from synfarm_caption_api.web.run_form import default_run, read_run
from synfarm_caption_api.web.trainer import Trainer


@pytest.mark.integration
async def test_without_a_trainer_the_page_says_how_to_name_it(open_page: Any) -> None:
    async with open_page() as page:
        for path in ("runs", "runs/new"):
            answer = await page.get(f"/ui/{path}")
            assert (answer.status_code, "SYNFARM_CAPTION_API_TRAINER_URL=" in answer.text) == (200, True)
        run = await page.get(f"/ui/runs/{'01k' + '1' * 23}")
        assert (run.status_code, "SYNFARM_CAPTION_API_TRAINER_URL" in run.text) == (503, True)


@pytest.mark.integration
async def test_a_trainer_that_is_away_costs_its_own_page_alone(site: Any, open_page: Any) -> None:
    away = Trainer("http://127.0.0.1:9")
    site.app.state.web = dataclasses.replace(site.app.state.web, trainer=away)
    async with open_page() as page:
        runs = await page.get("/ui/runs")
        assert (runs.status_code, "does not answer (ConnectError)" in runs.text) == (200, True)
        assert (await page.get("/ui/")).status_code == 200
    await away.aclose()


@pytest.mark.integration
async def test_a_run_with_its_curves(site: Any, open_page: Any, trainer: Any, make_step: Any) -> None:
    knn = {"top1": 0.2, "standard_error": 0.01, "floors": {"raw_pixels": {"top1": 0.1, "standard_error": 0.01}}}
    evals = {"0": {"knn": {**knn, "top1": 0.05}, "other": {"loss": 3}}, "20": {"knn": knn}}
    run = trainer.view(evals=evals, state="completed", warnings=["collapsed: key_spread is 0.01; lower optim.lr"]).run
    trainer.steps = [make_step(i, total=5.0, a_term_of_tomorrow=4.0) for i in range(1, 21)]
    trainer.files = {"patch-pca.png": b"\x89PNG", "backbone.json": b"{}"}
    point = {"attempt": 0, "bytes": 2_000_000, "whole": True, "committed_at": utc_now().isoformat()}
    trainer.checkpoints = [{**point, "step": step, "whole": step < 700} for step in range(100, 800, 100)]
    async with open_page() as page:
        text = (await page.get(f"/ui/runs/{run}")).text
        for words in (
            "2.0 MB",
            "not whole",
            "And 2 older.",
            "a term of tomorrow",
            "raw pixels",
            "20.0 %",
            "untrained network",
            "key_spread is 0.01",
            "data-final",
        ):
            assert words in text
        assert f'<img src="/ui/runs/{run}/artifacts/patch-pca.png"' in text
        curves = (await page.get(f"/ui/runs/{run}/curves?buckets=10")).json()
        assert (curves["step"], curves["total"], curves["more"], curves["final"]) == (20, 200, False, True)
        panels = {panel["name"]: panel for panel in curves["panels"]}
        assert [line["name"] for line in panels["losses"]["lines"]] == ["total", "a_term_of_tomorrow"]
        assert panels["evaluation, top-1"]["lines"][0]["points"] == [[0, 0.05, 0.04, 0.06], [20, 0.2, 0.19, 0.21]]
        assert panels["evaluation, top-1"]["floors"] == [["raw_pixels", 0.1]]
        assert {"learning rate", "images per second", "wait for data", "gradient_norm"} <= set(panels)
        picture = await page.get(f"/ui/runs/{run}/artifacts/patch-pca.png")
        assert (picture.headers["content-type"], picture.content) == ("image/png", b"\x89PNG")
        other = await page.get(f"/ui/runs/{run}/artifacts/backbone.json")
        # A file of the trainer is never shown as a page of this origin.
        assert other.headers["content-type"] == "application/octet-stream"
        assert other.headers["content-disposition"] == 'attachment; filename="backbone.json"'
        assert (await page.get(f"/ui/runs/{run}/artifacts/..%5Cx")).status_code == 404
        assert (await page.post(f"/ui/runs/{run}/signal/stop")).headers["location"] == f"/ui/runs/{run}"
    assert trainer.asked[-1] == f"POST /v1/runs/{run}/stop"
    assert set(trainer.keys) == {f"Bearer {site.tokens['ada']}"}


@pytest.mark.integration
async def test_figures_of_a_run_that_nobody_follows_are_dated(open_page: Any, trainer: Any) -> None:
    run = trainer.view(as_of=utc_now() - timedelta(hours=3)).run
    async with open_page() as page:
        assert "figures of" in (await page.get(f"/ui/runs/{run}/live")).text
        trainer.view()
        assert "figures of" not in (await page.get(f"/ui/runs/{run}/live")).text


@pytest.mark.integration
async def test_ids_of_no_run_never_reach_the_trainer(open_page: Any, trainer: Any) -> None:
    async with open_page() as page:
        for path in ("x", "..%2fjobs", "x/curves", "x/artifacts/y"):
            assert (await page.get(f"/ui/runs/{path}")).status_code == 404
        assert trainer.asked == []
        assert (await page.get(f"/ui/runs/{'01k' + '2' * 23}")).status_code == 404


@pytest.mark.integration
async def test_starting_a_run(site: Any, open_page: Any, trainer: Any) -> None:
    async with site.client() as client:
        job = (await client.post("/v1/jobs", json={"name": "pets", "concepts": ["dog"], "captions": 8})).json()["job"]
    async with open_page() as page:
        text = (await page.get(f"/ui/runs/new?job={job}")).text
        assert f">{job}</textarea>" in text
        form = {"jobs": job, "name": "pets", "preset": "tiny", "steps": "40", "overrides": "optim.lr = 0.002"}
        trainer.refuse = ProblemError(
            422, "config_invalid", "schedule.steps: too short", field="overrides.schedule.steps", hint="More."
        )
        refused = await page.post("/ui/runs/new", data=form)
        assert refused.status_code == 422
        beside = re.search(r'id="steps-fault">(.*?)</p>', refused.text, re.DOTALL)
        assert beside is not None
        assert "schedule.steps: too short" in beside.group(1)
        assert "optim.lr = 0.002" in refused.text
        trainer.refuse = ProblemError(401, "key_unknown", "This key is not known here.")
        other_keys = await page.post("/ui/runs/new", data=form)
        assert (other_keys.status_code, "same SYNFARM_AUTH_KEYS_FILE" in other_keys.text) == (502, True)
        trainer.refuse = None
        started = await page.post("/ui/runs/new", data=form)
        assert started.headers["location"].startswith("/ui/runs/01k")
    assert trainer.started[0].overrides == {"schedule.steps": 40, "schedule.warmup_steps": 4, "optim.lr": 0.002}


@pytest.mark.integration
@pytest.mark.parametrize(("status", "same"), [(503, True), (502, True), (409, False), (422, False)])
async def test_a_start_whose_answer_was_lost_is_sent_again_as_the_same(
    open_page: Any, trainer: Any, status: int, same: bool
) -> None:
    token, trainer.refuse = "ab" * 16, ProblemError(status, "no", "No.")
    form = {"jobs": "01k" + "0" * 23, "name": "pets", "preset": "tiny", "submission": token}
    async with open_page() as page:
        answer = await page.post("/ui/runs/new", data=form)
    assert answer.status_code == status
    assert (f'name="submission" value="{token}"' in answer.text) is same


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"steps": "none"}, "steps"),
        ({"steps": "0"}, "steps"),
        pytest.param({"steps": "9" * 5000}, "steps", id="more digits than Python reads"),
        ({"overrides": "optim.lr"}, "overrides"),
        ({"overrides": "a.b = 1\na.b = 2"}, "overrides"),
        pytest.param(
            {"overrides": "\n".join(f"a.b{i} = 1" for i in range(9000))}, "overrides", id="overrides beyond reason"
        ),
        ({"jobs": "x"}, "jobs"),
        ({"ranks": "0"}, "ranks"),
        ({"preset": "Tiny!"}, "preset"),
    ],
)
def test_what_cannot_be_a_run_is_told_at_its_field(changes: dict[str, str], field: str) -> None:
    with pytest.raises(BadForm) as raised:
        read_run({**default_run("01k" + "0" * 23, "pets"), **changes})
    assert set(raised.value.problems) == {field}


def test_overrides_are_json_or_text() -> None:
    lines = "augment.scale = [0.5, 1.0]\n# note\nobjective.name = synclr\neval.knn = false # no"
    read = read_run({**default_run("01k" + "0" * 23, "pets"), "overrides": lines})
    assert read.overrides == {"augment.scale": [0.5, 1.0], "objective.name": "synclr", "eval.knn": False}


def test_json_deeper_than_python_reads_is_text() -> None:
    read = read_run({**default_run("01k" + "0" * 23, "pets"), "overrides": "a.b = " + "[" * 60_000})
    assert isinstance(read.overrides["a.b"], str)
