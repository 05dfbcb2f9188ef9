"""The plan: a guess says that it is one, measured rates come from finished units, and what is in the way is named."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Commit, GroupRow, Member, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.rates import RateBook, UnitTiming
from synfarm_caption_api.text_generator import GeneratorAway

pytestmark = pytest.mark.integration
BODY = {"concepts": ["dog", "cat"], "captions": 9000, "images_per_caption": 4}
SHA = "ab" * 32


async def plan(site: Any, price: float | None = None, **changes: object) -> dict[str, Any]:
    query = "" if price is None else f"&price_per_gpu_hour={price}"
    async with site.client() as client:
        answer = await client.post(f"/v1/jobs?dry_run=true{query}", json={**BODY, **changes})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def live(site: Any, kind: str, **more: Any) -> None:
    info = WorkerInfo(id=f"{kind}-1", kind=kind, started_at=utc_now(), **more)  # type: ignore[arg-type]
    site.redis.sadd(site.keys.workers, info.id)
    site.redis.set(site.keys.worker(info.id), info.to_bytes(), px=60_000)


def commit(site: Any, spec: JobSpec, unit: int, seconds: float) -> None:
    """Two groups of four images, 8,000 bytes."""
    rows = []
    for index in list(spec.unit_range(unit))[:2]:
        name = caption_id(spec.job, index)
        members = tuple(
            Member(name=f"{name}.{end}", offset=0, length=1) for end in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "json")
        )
        rows.append(
            GroupRow(
                index=index, caption_id=name, concept="dog", template="c", kind="object", offset=0, length=1,
                sha256=SHA, members=members,
            )
        )  # fmt: skip
    made = Commit(
        job=spec.job,
        unit=unit,
        attempt=spec.job,
        worker="w",
        committed_at=utc_now(),
        shard=ShardRef(key=layout.shard(spec.job, unit, SHA), sha256=SHA, size=8000),
        groups=tuple(rows),
        captions_sha256=SHA,
        timings={"total": seconds},
    )
    site.store.create(layout.commit(spec.job, unit), made.to_bytes())


async def test_a_farm_that_has_done_nothing_guesses_and_says_so(site: Any) -> None:
    made = await plan(site, price=2.5)
    assert (made["rates"], made["captions"], made["images"]) == ("guess", 9000, 36_000)
    assert made["gpu_hours"]["high"] / made["gpu_hours"]["low"] == pytest.approx(9)
    assert made["cost"]["high"] == pytest.approx(made["gpu_hours"]["high"] * 2.5)
    assert (made["feasible"], made["eta_seconds"]) == (False, None)
    assert made["why_not"] == [
        "no caption worker is alive: start one",
        "no render worker serves collage-s: start one with it in SYNFARM_RENDER_CAPABILITIES",
    ]
    assert not list(site.store.list(""))


async def test_measured_units_replace_the_guess_and_come_back_after_a_flush(site: Any, redis: Redis) -> None:
    async with site.client() as client:
        job = (await client.post("/v1/jobs", json={**BODY, "captions_per_unit": 8})).json()["job"]
    spec = JobSpec.from_bytes(site.store.get(layout.job(job)))
    for unit in range(5):
        commit(site, spec, unit, seconds=16.0)  # 2 s an image
    for _ in range(2):
        made = await plan(site)
        assert made["rates"] == "measured"
        assert "5 units of collage-s (40 images)" in made["rates_from"]
        assert made["gpu_hours"]["low"] == made["gpu_hours"]["high"] == pytest.approx(20)
        assert made["estimated_bytes"] == 36_000 * 1000
        assert len(RateBook(redis, site.keys).timings("collage-s")) == 5
        redis.flushall()


async def test_a_model_s_cost_grows_with_its_steps(site: Any, redis: Redis) -> None:
    render = {"renderer": "diffusers", "model": "hub/model", "family": "sd15", "size": 256}
    RateBook(redis, site.keys).note("sd15-s", [UnitTiming(seconds=3600, images=100, bytes=1, passes=100)])
    made = await plan(site, render={**render, "steps": 25})
    assert made["gpu_hours"]["high"] == pytest.approx(180)


async def test_the_time_to_the_end_counts_workers_and_who_waits_before(site: Any, redis: Redis) -> None:
    book = RateBook(redis, site.keys)
    book.note("collage-s", [UnitTiming(seconds=10, images=10, bytes=10)])
    live(site, "caption")
    live(site, "render", capabilities=("collage-s",), slots=4)
    alone = await plan(site)
    assert (alone["feasible"], alone["why_not"], alone["queue_position"]) == (True, [], 1)
    assert alone["eta_seconds"] == {"low": 9000, "high": 9000}
    async with site.client("bob") as bob:
        for lane in ("high", "normal", "low"):
            await bob.post("/v1/jobs", json={**BODY, "lane": lane})
    second = await plan(site)
    assert (second["queue_position"], second["images_ahead"]) == (3, 72_000)
    assert second["eta_seconds"] == {"low": 9000, "high": 27_000}
    assert (await plan(site, lane="high"))["queue_position"] == 2
    book.note_throughput("collage-s", 1.0)  # captions hold the farm up
    assert (await plan(site, lane="high"))["eta_seconds"]["low"] == pytest.approx(36_000 / 1.25)


async def test_an_llm_that_is_away_is_in_the_way(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone() -> None:
        raise GeneratorAway("http://llm: refused")

    live(site, "caption")
    live(site, "render", capabilities=("collage-s",))
    monkeypatch.setattr(site.generator, "probe", gone)
    made = await plan(site)
    assert (made["feasible"], made["why_not"]) == (False, ["the LLM is away: http://llm: refused"])


@pytest.mark.parametrize("price", ["-1", "nan", "inf", "cheap"])
async def test_a_price_is_a_number(site: Any, price: str) -> None:
    async with site.client() as client:
        answer = await client.post(f"/v1/jobs?dry_run=true&price_per_gpu_hour={price}", json=BODY)
    assert (answer.status_code, answer.json()["field"]) == (422, "price_per_gpu_hour")
