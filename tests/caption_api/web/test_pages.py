"""The pages as they are read without scripts: what they show, also when something is away, and what they never hold."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisAway

from synfarm.contracts import layout
from synfarm.storage.protocol import StoreUnavailable

pytestmark = pytest.mark.integration


async def make_job(site: Any, who: str = "ada", **body: object) -> str:
    async with site.client(who) as client:
        answer = await client.post(
            "/v1/jobs", json={"name": "pets", "concepts": ["dog", "cat"], "captions": 40, **body}
        )
    return str(answer.json()["job"])


class Inline(HTMLParser):
    """What the page's policy forbids, and what a reader with a keyboard or a screen reader needs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.breaches: list[str] = []
        self.labels: set[str] = set()
        self.inputs: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if tag == "style" or (tag == "script" and not found.get("src")) or "style" in found:
            self.breaches.append(self.get_starttag_text() or tag)
        self.breaches += [name for name in found if name.startswith("on")]
        for name in ("src", "href", "action"):
            address = found.get(name) or "/"
            if address.startswith(("//", "javascript:")) or (tag != "a" and address.startswith("http")):
                self.breaches.append(address)
        if tag == "label" and found.get("for"):
            self.labels.add(str(found["for"]))
        hidden = found.get("type") == "hidden" or "hidden" in found
        if tag in {"input", "select", "textarea"} and not hidden:
            self.inputs.append(str(found.get("id")))


async def test_every_page_keeps_the_policy_and_its_landmarks(site: Any, open_page: Any, trainer: Any) -> None:
    job, run = await make_job(site), trainer.view().run
    paths = [
        "",
        "jobs/new",
        f"jobs/{job}",
        f"jobs/{job}/captions-report",
        f"jobs/{job}/failures",
        "workers",
        "runs",
        "runs/new",
        f"runs/{run}",
    ]
    async with open_page() as page:
        for path in paths:
            answer = await page.get(f"/ui/{path}")
            assert answer.status_code == 200, (path, answer.text)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["cache-control"] == "no-store"
            read = Inline(answer.text)
            assert read.breaches == [], path
            assert set(read.inputs) <= read.labels, path
            assert [read.tags.count(tag) for tag in ("h1", "main", "header")] == [1, 1, 1], path
        lost = await page.get("/ui/nothing")
        assert (lost.status_code, "No such page" in lost.text) == (404, True)
        assert lost.headers["content-security-policy"] == policy
        script = await page.get("/ui/static/main.js")
        assert (script.status_code, script.headers["cache-control"]) == (200, "no-cache")
        assert (await page.get("/ui/static/../application.py")).status_code == 404
        first = await page.get("/")
        assert (first.status_code, first.headers["location"]) == (307, "/ui/")


async def test_a_job_shows_where_it_stands(site: Any, open_page: Any) -> None:
    job = await make_job(site)
    async with open_page() as page:
        first = (await page.get("/ui/")).text
        assert f"/ui/jobs/{job}" in first
        assert "0 of 40" in first
        shown = (await page.get(f"/ui/jobs/{job}")).text
        assert "Images appear here when the first unit is committed" in shown
        assert f'data-events="/ui/jobs/{job}/events"' in shown
        paused = await page.post(f"/ui/jobs/{job}/signal/pause")
        assert paused.headers["location"] == f"/ui/jobs/{job}"
        assert "Resume" in (await page.get(f"/ui/jobs/{job}/live")).text
        await page.post(f"/ui/jobs/{job}/signal/cancel")
        assert "cancelling" in (await page.get(f"/ui/jobs/{job}/live")).text


async def test_text_of_others_stays_text(site: Any, open_page: Any) -> None:
    job = await make_job(site)
    letter = {"job": job, "unit": 1, "stage": "render", "fault": "unit", "count": 3, "at": "2026-01-01T00:00:00Z"}
    letter["reason"] = "<script>alert(1)</script> \u202ekcatta\x1b[2J"
    site.store.create(layout.failure(job, 1), json.dumps(letter).encode())
    async with open_page() as page:
        text = (await page.get(f"/ui/jobs/{job}/failures")).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \ufffdkcatta\ufffd[2J" in text, "nor does it turn the page round"
    assert Inline(text).breaches == []


async def test_jobs_are_paged(site: Any, open_page: Any) -> None:
    jobs = [await make_job(site) for _ in range(21)]
    async with open_page() as page:
        first = (await page.get("/ui/")).text
        assert f"/ui/jobs/{jobs[-1]}" in first
        assert f"/ui/jobs/{jobs[1]}" in first
        # They all wait for the same workers: that is said once, with a link to one of them.
        assert first.count('class="notice bad"') == 1
        assert re.search(r"and 20 more are held up: .*no render worker serves collage-s", first)
        table = first[first.index("<table>") :]
        assert f"/ui/jobs/{jobs[0]}" not in table
        assert f'rel="next" href="/ui/?cursor={jobs[1]}"' in first
        second = (await page.get(f"/ui/?cursor={jobs[1]}")).text
        assert f"/ui/jobs/{jobs[0]}" in second
        assert f'data-live="/ui/live?cursor={jobs[1]}"' in second


async def test_what_is_away_is_said(site: Any, open_page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await make_job(site)

    def away(*_: object, **__: object) -> None:
        raise RedisAway("gone")

    def fall(operation: str, key: str) -> None:
        raise StoreUnavailable(key)

    async with open_page() as page:
        site.store.fault = fall
        answer = await page.get("/ui/")
        assert (answer.status_code, "Store away" in answer.text) == (503, True)
        script = await page.get("/ui/live", headers={"Accept": "*/*"})
        assert script.json()["code"] == "store_away"
        site.store.fault = None
        monkeypatch.setattr(site.redis, "execute_command", away)
        first = await page.get("/ui/")
        assert (first.status_code, "Redis does not answer" in first.text) == (200, True)
        workers = await page.get("/ui/workers")
        assert (workers.status_code, "Redis away" in workers.text) == (503, True)
        assert (await page.get(f"/ui/jobs/{job}")).status_code == 200


async def test_a_bad_address_is_a_page_too(open_page: Any) -> None:
    async with open_page() as page:
        for path, status in (("jobs/nonsense", 404), ("jobs/x/failures?cursor=-1", 422), ("jobs/x/signal/eat", 405)):
            answer = await page.get(f"/ui/{path}")
            assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")


async def test_a_job_without_a_list_of_concepts_tells_what_it_is_made_of(site: Any, open_page: Any) -> None:
    render = {"renderer": "diffusers", "model": "m/sd15", "family": "sd15"}
    async with site.client() as client:
        body = {"mix": {"food101": 0.5, "dtd": 0.5}, "captions": 8, "render": render}
        answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    async with open_page() as page:
        shown = (await page.get(f"/ui/jobs/{answer.json()['job']}")).text
    assert "own mix (148 concepts), drawn uniform" in shown
    assert "Its concepts" not in shown
    assert '<input id="concept" name="concept"' in shown
