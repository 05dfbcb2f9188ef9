"""A job that nobody can serve says so from its first answer, in every list, and no longer than it is true."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts.base import utc_now
from synfarm.contracts.renders import Stage
from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock

pytestmark = pytest.mark.integration
RENDER = {"renderer": "diffusers", "model": "hub/model", "revision": "main", "family": "sd15", "size": 512}
BODY = {"concepts": ["dog"], "captions": 16, "render": RENDER}
NOBODY = "no render worker serves sd15-m: start one with it in SYNFARM_RENDER_CAPABILITIES"


def live(site: Any, kind: str, **more: Any) -> None:
    info = WorkerInfo(id=f"{kind}-1", kind=kind, started_at=utc_now(), **more)  # type: ignore[arg-type]
    site.redis.sadd(site.keys.workers, info.id)
    site.redis.set(site.keys.worker(info.id), info.to_bytes(), px=60_000)


async def test_the_first_answer_names_what_is_missing_until_it_is_there(site: Any) -> None:
    live(site, "caption")
    live(site, "render", capabilities=("collage-s",))
    async with site.client() as client:
        plan = (await client.post("/v1/jobs?dry_run=true", json=BODY)).json()
        made = (await client.post("/v1/jobs", json=BODY)).json()
        assert plan["why_not"] == [NOBODY]
        assert (made["state"], made["stalled"]) == ("queued", NOBODY)
        job = f"/v1/jobs/{made['job']}"
        assert [item["stalled"] for item in (await client.get("/v1/jobs")).json()["items"]] == [NOBODY]
        assert (await client.post(f"{job}/pause")).json()["stalled"] is None
        await client.post(f"{job}/resume")
        live(site, "render", capabilities=("sd15-m",), draining=True)
        assert (await client.get(job)).json()["stalled"] == NOBODY, "one that stops takes nothing more"
        live(site, "render", capabilities=("sd15-m",))
        assert (await client.get(job)).json()["stalled"] is None


async def test_workers_that_cannot_load_are_as_good_as_none_and_say_why(site: Any) -> None:
    live(site, "caption")
    trouble = "render.model: 'hub/model' cannot be loaded: no such revision"
    live(site, "render", capabilities=("sd15-m",), loading="hub/model@main", trouble=trouble)
    async with site.client() as client:
        made = (await client.post("/v1/jobs", json=BODY)).json()
        assert made["stalled"] == f"no render worker that serves sd15-m can load its model: {trouble}"
        # One that takes units and fails to load for them: the job's own outage says it.
        live(site, "render", capabilities=("sd15-m",), trouble=trouble)
        assert (await client.get(f"/v1/jobs/{made['job']}")).json()["stalled"] is None
        board = Board(site.redis, site.keys, RedisClock(site.redis))
        board.record_send(made["job"], 0, Stage.RENDER, "render.sd15-m.normal")
        board.environment_fault(made["job"], Stage.RENDER, trouble)
        assert (await client.get(f"/v1/jobs/{made['job']}")).json()["stalled"] == f"render: {trouble}"


async def test_captions_are_missed_only_while_units_want_some(site: Any) -> None:
    live(site, "render", capabilities=("sd15-m",))
    async with site.client() as client:
        made = (await client.post("/v1/jobs", json=BODY)).json()
        assert made["stalled"] == "no caption worker is alive: start one"
        board = Board(site.redis, site.keys, RedisClock(site.redis))
        for unit in range(made["planned_units"]):
            board.record_send(made["job"], unit, Stage.RENDER, "render.sd15-m.normal")
        assert (await client.get(f"/v1/jobs/{made['job']}")).json()["stalled"] is None


async def test_what_the_feeder_misses_stays_beside_what_is_missed_now(site: Any) -> None:
    """It knows of units that wait for captions, which nobody sees from here once all were sent."""
    captions = "no caption worker is alive: start one"
    async with site.client() as client:
        made = (await client.post("/v1/jobs", json=BODY)).json()
        board = Board(site.redis, site.keys, RedisClock(site.redis))
        for unit in range(made["planned_units"]):
            board.record_send(made["job"], unit, Stage.CAPTION, "caption.normal")
        board.set_held_up(made["job"], f"{captions}; {NOBODY}")
        assert (await client.get(f"/v1/jobs/{made['job']}")).json()["stalled"] == f"{NOBODY}; {captions}"
