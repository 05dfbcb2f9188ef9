"""An imported job at the API and on the page: seen once it is whole, never at work."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from synfarm.contracts import layout
from synfarm.importing.importing import ImportAsked, import_images
from synfarm.importing.planning import plan_import


@pytest.fixture
def job(site: Any, tmp_path: Path) -> str:
    for number, name in enumerate(("owl", "<b>fox")):
        (tmp_path / name).mkdir()
        for shade in (1, 2):
            made = io.BytesIO()
            Image.new("RGB", (40, 30), (shade * 90, 80 * number, 0)).save(made, "JPEG")
            (tmp_path / name / f"{shade}.jpg").write_bytes(made.getvalue())
    plan = plan_import([tmp_path])
    asked = ImportAsked(name="photos", owner="ada", source=plan.source, per_unit=plan.per_unit)
    return import_images(site.store, plan, asked).job


async def test_it_is_listed_read_and_deleted_as_others_are(site: Any, job: str) -> None:
    headers = {"Authorization": f"Bearer {site.tokens['ada']}"}
    transport = httpx.ASGITransport(site.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        listed = (await client.get("/v1/jobs")).json()["items"]
        assert [(one["job"], one["state"], one["counts"]["images"]) for one in listed] == [(job, "completed", 4)]
        group = (await client.get(f"/v1/jobs/{job}/samples?limit=1")).json()["items"][0]
        assert group["meta"]["scenes"][0]["file"].partition("/")[0] == group["concept"]
        image = await client.get(group["images"][0])
        assert image.content[:2] == b"\xff\xd8"
        captions = (await client.get(f"/v1/jobs/{job}/captions")).json()["items"]
        assert sorted(one["text"] for one in captions) == ["<b>fox", "<b>fox", "owl", "owl"]
        again = {"captions_from": {"job": job}, "captions": 4}
        assert (await client.post("/v1/jobs?dry_run=true", json=again)).status_code == 200
        for what, body in {
            "pause": None,
            "resume": None,
            "cancel": None,
            "retry": None,
            "extend": {"captions": 9},
        }.items():
            refused = await client.post(f"/v1/jobs/{job}/{what}", json=body)
            problem = refused.json()
            assert (refused.status_code, problem["code"], problem["field"]) == (409, "job_imported", "job")
            assert what in problem["detail"]
            assert "synfarm import" in problem["hint"]
        assert site.store.head(layout.active(job)) is None
        assert not [info.key for info in site.store.list(layout.openings_prefix(job))]
        assert (await client.delete(f"/v1/jobs/{job}")).status_code == 202


async def test_its_pages_say_where_it_is_from_and_offer_nothing_to_draw(open_page: Any, job: str) -> None:
    async with open_page() as page:
        text = (await page.get(f"/ui/jobs/{job}")).text
        assert "2: &lt;b&gt;fox, owl; 4 images imported from folder" in text
        assert 'id="delete"' in text
        for absent in ('id="extend"', 'id="retry"', "temperature", "collage"):
            assert absent not in text
        report = await page.get(f"/ui/jobs/{job}/captions-report")
        assert report.status_code == 200
        sample = (await page.get(f"/ui/jobs/{job}/samples/{job}-0000000000")).text
        assert "The file it was imported from" in sample
        assert "redraw" not in sample
