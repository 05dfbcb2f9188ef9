"""An older replica of the API among newer ones: what it cannot read hides nothing else, and its owner hears why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.workers import WorkerInfo

pytestmark = pytest.mark.integration


async def get(site: Any, path: str, who: str = "ada") -> tuple[int, dict[str, Any]]:
    async with site.client(who) as client:
        answer = await client.get(path)
    return answer.status_code, answer.json()


async def test_a_job_of_a_newer_contract_is_explained_to_its_owner_and_hides_no_other(site: Any, renders: Any) -> None:
    known, newer = renders.job(), renders.job(job="01k" + "1" * 23)
    spec = {**json.loads(newer.to_bytes()), "schema_version": 2}
    site.store.put(layout.job(newer.job), json.dumps(spec).encode())
    status, problem = await get(site, f"/v1/jobs/{newer.job}")
    assert (status, problem["code"]) == (501, "job_of_newer_version")
    assert "JobSpec: contract 2" in problem["detail"]
    assert "Upgrade every caption-api" in problem["hint"]
    assert (await get(site, f"/v1/jobs/{newer.job}", "bob"))[0] == 404, "of others ids tell nothing"
    status, page = await get(site, "/v1/jobs")
    assert (status, [job["job"] for job in page["items"]]) == (200, [known.job])


async def test_a_newer_worker_is_listed(site: Any) -> None:
    told = WorkerInfo(id="w", kind="render", version="9.9", reads=(1, 2), started_at=utc_now())
    site.redis.sadd(site.keys.workers, "w")
    site.redis.set(site.keys.worker("w"), json.dumps({**json.loads(told.to_bytes()), "power_watts": 700}))
    status, found = await get(site, "/v1/workers")
    assert status == 200
    assert [(worker["version"], worker["reads"]) for worker in found["items"]] == [("9.9", [1, 2])]
