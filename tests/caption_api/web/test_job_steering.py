"""Retry, extend and delete from a job's page: offered when its state allows it, refused in words, generations told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import FaultClass
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Counts
from synfarm.contracts.origins import CaptionJobRef
from synfarm.contracts.views import JobView
from synfarm.queue.specs import read_spec
from synfarm_caption_api.feeder.view import BEING_DELETED
from synfarm_caption_api.web.job_choices import FAULTS, choices


async def make(site: Any) -> str:
    async with site.client() as client:
        body = {"name": "pets", "concepts": ["dog", "cat"], "captions": 48, "captions_per_unit": 8}
        return str((await client.post("/v1/jobs", json=body)).json()["job"])


def end(site: Any, job: str, generation: int = 1, state: str = "completed", dead: int = 0, planned: int = 48) -> None:
    body = {
        "job": job,
        "generation": generation,
        "state": state,
        "planned": planned,
        "counts": {"units_committed": 6 - dead, "units_dead": dead, "captions": 48 - 8 * dead, "images": 160},
        "parts": [],
        "manifest_sha256": "0" * 64,
        "ended_at": "2026-01-01T00:00:00Z",
    }
    site.store.create(layout.ended(job, generation), json.dumps(body).encode())
    site.store.delete(layout.active(job))


def letter(site: Any, job: str, unit: int, fault: str = "unit") -> None:
    body = {"job": job, "unit": unit, "stage": "render", "fault": fault, "count": 3, "at": "2026-01-01T00:00:00Z"}
    site.store.create(layout.failure(job, unit), json.dumps({**body, "reason": "NaN in the image"}).encode())


def offered(text: str) -> set[str]:
    """Which forms a page of a job has."""
    return set(re.findall(r'action="/ui/jobs/[0-9a-z]+/(?:signal/)?(pause|resume|cancel|retry|delete|extend)"', text))


_OFFERS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("queued", {}, {"pause", "cancel", "delete"}),
    ("running", {}, {"pause", "cancel", "delete"}),
    ("running", {"counts": Counts(units_dead=1)}, {"pause", "cancel", "delete"}),
    ("paused", {}, {"resume", "cancel", "delete"}),
    ("cancelling", {}, {"delete"}),
    ("cancelling", {"reason": BEING_DELETED}, set()),
    ("cancelled", {"counts": Counts(units_dead=1)}, {"delete"}),
    ("completed", {}, {"extend", "delete"}),
    ("completed_with_errors", {"counts": Counts(units_dead=1)}, {"retry", "extend", "delete"}),
    ("failed", {"counts": Counts(units_dead=6)}, {"retry", "extend", "delete"}),
]


@pytest.mark.parametrize(("state", "more", "wanted"), _OFFERS)
def test_what_is_offered_follows_the_state(
    make_spec: Callable[..., JobSpec], state: str, more: dict[str, Any], wanted: set[str]
) -> None:
    spec = make_spec()
    fields = {"job": spec.job, "name": "j", "owner": "ada", "created_at": utc_now(), "as_of": utc_now()}
    body = {**fields, "planned_captions": 20, "planned_units": 3, "counts": Counts(), "state": JobState(state), **more}
    view = JobView.model_validate(body)
    assert choices(spec, view) == wanted
    taken = spec.model_copy(update={"captions_from": CaptionJobRef(job=spec.job, seed=0)})
    assert choices(taken, view) == wanted - {"extend"}


@pytest.mark.integration
async def test_dead_units_are_tried_again(site: Any, open_page: Any) -> None:
    job = await make(site)
    letter(site, job, 2)
    letter(site, job, 3, "lost_worker")
    async with open_page() as page:
        running = (await page.get(f"/ui/jobs/{job}/failures")).text
        assert "They can be tried again once the job has ended" in running
        assert offered(running) == set()
        end(site, job, dead=2, state="failed")
        for path in ("", "/live", "/failures"):
            shown = (await page.get(f"/ui/jobs/{job}{path}")).text
            assert "retry" in offered(shown), path
            assert "NaN in the image" in shown, path
            assert FAULTS["lost_worker"] in shown, path
        assert "Retry 2 dead units" in (await page.get(f"/ui/jobs/{job}")).text
        answer = await page.post(f"/ui/jobs/{job}/signal/retry")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/jobs/{job}")
        after = (await page.get(f"/ui/jobs/{job}")).text
    assert "retry" not in offered(after)
    rows = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r"<tr>(.*?)</tr>", after, re.DOTALL)]
    assert any(re.match(r"2 a retry of its dead units ada, just now stalled 48 – – –$", row) for row in rows), rows
    assert any(re.match(r"1 the job itself ada, just now failed 48 32 2 \d+ d ago$", row) for row in rows), rows


@pytest.mark.integration
async def test_a_job_is_extended_to_a_number_of_captions(site: Any, open_page: Any) -> None:
    job = await make(site)
    end(site, job)
    async with open_page() as page:
        for typed, words in (("48", "must be more than the 48"), ("many", "valid integer"), ("", "valid integer")):
            refused = await page.post(f"/ui/jobs/{job}/extend", data={"captions": typed})
            assert refused.status_code == 422
            beside = re.search(r'id="captions-fault">(.*?)</p>', refused.text, re.DOTALL)
            assert beside is not None
            assert words in beside.group(1)
            assert f'name="captions" type="number" value="{typed}"' in refused.text
            assert '<details class="sure" name="sure" id="extend" open>' in refused.text
        assert not list(site.store.list(layout.openings_prefix(job)))
        answer = await page.post(f"/ui/jobs/{job}/extend", data={"captions": "60"})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/jobs/{job}")
        assert read_spec(site.store, job).captions == 60
        assert "an extension" in (await page.get(f"/ui/jobs/{job}/live")).text
        again = await page.post(f"/ui/jobs/{job}/extend", data={"captions": "70"})
        assert (again.status_code, "has not ended yet" in again.text) == (409, True)
        assert "Wait until it has ended" in again.text
        end(site, job, generation=2, planned=60)
        ended = (await page.get(f"/ui/jobs/{job}")).text
    assert "· generation 2" in ended
    assert ended.index("an extension") < ended.index("the job itself")


@pytest.mark.integration
async def test_a_deletion_says_what_goes_and_leads_away(site: Any, open_page: Any) -> None:
    job = await make(site)
    end(site, job)
    async with open_page() as page:
        shown = (await page.get(f"/ui/jobs/{job}")).text
        assert "All that the job made goes: its captions, 160 images" in shown
        assert "A job that a run reads is refused" in shown
        answer = await page.post(f"/ui/jobs/{job}/signal/delete")
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/")
        assert "being deleted" in (await page.get("/ui/")).text
        assert offered((await page.get(f"/ui/jobs/{job}")).text) == set()
    assert site.store.head(layout.tombstone(job)) is not None


@pytest.mark.integration
async def test_a_job_that_a_run_reads_stays_and_its_page_says_why(site: Any, open_page: Any) -> None:
    job, run = await make(site), str(ULID()).lower()
    end(site, job)
    site.store.create(layout.pin(job, run), b"{}")
    async with open_page() as page:
        assert "1 run reads this job:" in (await page.get(f"/ui/jobs/{job}")).text
        answer = await page.post(f"/ui/jobs/{job}/signal/delete")
    assert answer.status_code == 409
    trouble = re.search(r'<div class="trouble" role="alert">(.*?)</div>', answer.text, re.DOTALL)
    assert trouble is not None
    assert f"Run {run} reads job {job}" in trouble.group(1)
    assert f"Delete the run {run} first" in trouble.group(1)
    assert "Captions and images" in answer.text, "the job's own page, with all of it"
    assert site.store.head(layout.tombstone(job)) is None


@pytest.mark.integration
@pytest.mark.parametrize(
    ("state", "signal", "words"),
    [
        ("completed", "pause", "Below is what an ended job can still do."),
        ("completed", "retry", "Extend the job to plan more captions."),
        ("cancelled", "retry", "Make a new job; below is what this one was made with."),
    ],
)
async def test_what_comes_too_late_is_told_in_the_pages_words(
    site: Any, open_page: Any, state: str, signal: str, words: str
) -> None:
    job = await make(site)
    end(site, job, state=state)
    async with open_page() as page:
        answer = await page.post(f"/ui/jobs/{job}/signal/{signal}")
    assert answer.status_code == 409
    assert words in answer.text
    assert "/v1/" not in answer.text


@pytest.mark.integration
async def test_the_job_of_somebody_else_is_not_steered(site: Any, open_page: Any) -> None:
    job = await make(site)
    end(site, job, dead=1)
    async with open_page("bob") as page:
        for path in ("signal/retry", "signal/delete", "extend"):
            assert (await page.post(f"/ui/jobs/{job}/{path}", data={"captions": "99"})).status_code == 404
        assert (await page.post(f"/ui/jobs/{job}/extend", data={"captions": "x"})).status_code == 404
    assert site.store.head(layout.tombstone(job)) is None


def test_every_fault_has_words() -> None:
    assert set(FAULTS) == set(FaultClass.__args__)  # type: ignore[attr-defined]
