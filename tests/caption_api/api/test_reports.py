"""``GET /v1/jobs/{id}/report`` over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.caption_reports import CaptionReport
from synfarm.contracts.captions import CaptionRecord, write_jsonl
from synfarm.contracts.ids import caption_id

pytestmark = pytest.mark.integration


async def test_the_owner_sees_what_the_captions_are_like(site: Any, renders: Any) -> None:
    spec = renders.job()
    records = [
        CaptionRecord(
            caption_id=caption_id(spec.job, index),
            index=index,
            concept="dog",
            text=f"a dog on sheet {index}",
            draws=2,
            llm_seed=0,
            llm_model="m",
        )
        for index in spec.unit_range(0)
    ]
    site.store.create(layout.captions(spec.job, 0), write_jsonl(records))
    async with site.client() as client:
        answer = await client.get(f"/v1/jobs/{spec.job}/report")
    assert answer.status_code == 200, answer.text
    report = CaptionReport.from_bytes(answer.content)
    assert (report.job, report.planned, report.sample.kept) == (spec.job, 40, 8)
    assert report.concepts.most[0].concept == "dog"


async def test_a_job_of_somebody_else_and_none_have_the_same_answer(site: Any, renders: Any) -> None:
    spec = renders.job(owner="bob")
    async with site.client() as client:
        for job in (spec.job, "01k" + "9" * 23, "nonsense"):
            answer = await client.get(f"/v1/jobs/{job}/report")
            assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
