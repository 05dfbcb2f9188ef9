"""The page on a job's captions tells all that the API's report tells, without scripts, and while there is little."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, DropReason, write_jsonl
from synfarm.contracts.ids import caption_id
from synfarm.contracts.origins import Template
from synfarm_caption_api.web.caption_report import REASONS, TEMPLATES

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink")


async def make_job(site: Any, **body: object) -> str:
    async with site.client() as client:
        asked = {"name": "pets", "concepts": ["dog", "cat", "owl"], "captions": 24, "captions_per_unit": 8, **body}
        answer = await client.post("/v1/jobs", json=asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job"])


def write_unit(site: Any, job: str, unit: int) -> None:
    """Six captions of dogs, one of them longer, an owl whose slot stayed empty, and a dog with a background."""
    texts = [f"a {colour} dog" for colour in COLOURS[:5]]
    texts += ["a dog that looks for its ball behind the garden shed", None, "a dog on a beach"]
    records = [
        CaptionRecord(
            caption_id=caption_id(job, 8 * unit + place),
            index=8 * unit + place,
            concept="owl" if text is None else "dog",
            template=Template.BACKGROUND if place == 7 else Template.CONCEPT,
            second="beach" if place == 7 else None,
            text=text,
            empty_reason=DropReason.CONCEPT_LOST if text is None else None,
            draws=9 if text is None else 2,
            llm_seed=0,
            llm_model="m",
        )
        for place, text in enumerate(texts)
    ]
    site.store.create(layout.captions(job, unit), write_jsonl(records))


@pytest.mark.integration
async def test_the_page_tells_what_the_report_tells(site: Any, open_page: Any) -> None:
    job = await make_job(site, captions=16)
    write_unit(site, job, 0)
    write_unit(site, job, 1)
    body = {
        "counts": {"units_committed": 2, "captions": 14, "empty": 2},
        "draws": 46,
        "rejections": {"concept_lost": 30, "too_short": 2},
    }
    ended = {"job": job, "generation": 1, "state": "completed", "planned": 16, "parts": [], **body}
    ended |= {"manifest_sha256": "0" * 64, "ended_at": "2026-01-01T00:00:00Z"}
    site.store.create(layout.ended(job, 1), json.dumps(ended).encode())
    site.store.delete(layout.active(job))
    async with open_page() as page:
        shown = (await page.get(f"/ui/jobs/{job}/captions-report")).text
        report = (await page.get(f"/ui/jobs/{job}/captions-report.json")).json()
    text = " ".join(re.sub(r"<[^>]+>", " ", shown).split())
    assert (report["sample"]["kept"], report["draws"]) == (14, 46)
    for words in (
        "Captions kept 14 of 16 planned",
        "Acceptance 30.4 %",
        "16 planned captions, 14 of them kept, in 2 of 2 written units",
        "concept lost does not name its concept 30 65.2 %",
        "too short fewer words than the job asks for 2 4.3 %",
        "Why slots stayed empty The last refusal of each empty slot of the sample.",
        "the median, 3 words",
        "95 of 100 have at most 11",
        "3 words: 10 captions",
        "single words distinct-1",
        "7 of 14 captions (50.0 %) say nearly the same",
        "c,bg the concept and a background 2 of 2 4 50 % 100 %",
        "1 of 2 concepts of the sample have a caption",
    ):
        assert words in text, words
    distinct = report["distinct"]
    for n in (1, 2, 3):
        assert f"{100 * distinct[f'distinct_{n}']:.1f} %" in text
    most, fewest = shown.index("Most captions"), shown.index("Lost most of their captions")
    assert f'href="/ui/jobs/{job}?concept=dog#gallery"' in shown[most:fewest]
    assert "?concept=owl#gallery" in shown[fewest:]
    assert "data-final" in shown


@pytest.mark.integration
async def test_a_job_that_has_just_begun_has_a_page_that_fills(site: Any, open_page: Any) -> None:
    job = await make_job(site)
    async with open_page() as page:
        shown = (await page.get(f"/ui/jobs/{job}")).text
        assert f'href="/ui/jobs/{job}/captions-report"' in shown
        empty = (await page.get(f"/ui/jobs/{job}/captions-report")).text
        assert "No unit is written yet; this page fills by itself" in empty
        assert f'data-live="/ui/jobs/{job}/captions-report/live"' in empty
        write_unit(site, job, 0)
        filled = (await page.get(f"/ui/jobs/{job}/captions-report/live")).text
    assert "8 planned captions, 7 of them kept, in 1 of 1 written units" in " ".join(filled.split())
    assert "The sample is of one unit" in filled
    assert "data-final" not in filled


@pytest.mark.integration
async def test_a_damaged_unit_is_told(site: Any, open_page: Any) -> None:
    job = await make_job(site)
    write_unit(site, job, 0)
    site.store.create(layout.captions(job, 1), b"{")
    async with open_page() as page:
        assert "1 unit of the sample cannot be read" in (await page.get(f"/ui/jobs/{job}/captions-report")).text


@pytest.mark.integration
async def test_the_report_of_somebody_else_is_none(site: Any, open_page: Any) -> None:
    job = await make_job(site)
    async with open_page("bob") as page:
        for ending in ("", "/live", ".json"):
            assert (await page.get(f"/ui/jobs/{job}/captions-report{ending}")).status_code == 404


def test_every_reason_and_template_has_words() -> None:
    assert set(REASONS) == set(DropReason)
    assert set(TEMPLATES) == set(Template)
