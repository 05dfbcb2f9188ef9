"""A page of samples costs a bounded number of calls, counted against a job of 20,000 commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec
from synfarm.storage.memory import MemoryStore

pytestmark = pytest.mark.integration
Calls = Callable[[], list[tuple[str, str]]]


async def get(site: Any, path: str) -> Any:
    async with site.client() as client:
        return await client.get(path)


@pytest.fixture
def huge(site: Any, renders: Any) -> Callable[..., tuple[JobSpec, Calls]]:
    """A job of 20,000 commits, each written when it is first read; the function returned gives the store calls."""

    def make(watermark: int, **changes: Any) -> tuple[JobSpec, Calls]:
        spec = renders.job(captions=160_000, **changes)
        for unit in range(spec.units):
            site.store.put(layout.commit(spec.job, unit), b"to come")
        if watermark:
            renders.note(spec, watermark)
        seen: list[tuple[str, str]] = []

        def write_late(operation: str, key: str) -> None:
            seen.append((operation, key))
            stored = site.store._objects.get(key)
            if operation == "get" and stored is not None and stored.data == b"to come":
                aside = MemoryStore()
                type(renders)(aside).commit(spec, layout.parse_unit(key)[2])
                for info in aside.list(""):
                    site.store._write(info.key, aside.get(info.key))

        site.store.fault = write_late
        return spec, lambda: list(seen)

    return make


@pytest.mark.parametrize("query", ["", "&concept=owl", "&per_concept=2"])
@pytest.mark.parametrize("draw", ["uniform", "balanced"])
async def test_a_page_of_a_huge_job_costs_few_calls(site: Any, huge: Any, query: str, draw: str) -> None:
    spec, calls = huge(
        20_000, concept_draw=draw, concepts=["dog", "red fox", "owl", *(f"thing {i}" for i in range(97))]
    )
    page = (await get(site, f"/v1/jobs/{spec.job}/samples?limit=24{query}")).json()
    assert len(page["items"]) == 24
    assert page["next_cursor"] is not None
    assert len({item["unit"] // 2500 for item in page["items"]}) == 8 or query == "&per_concept=2"
    count = Counter(operation for operation, _ in calls())
    assert count["get_range"] == 24
    assert count["get"] <= 24 + 3
    assert count["list"] <= 3  # openings of the job, commits, the end
    assert sum(count.values()) <= 60


async def test_a_page_whose_units_are_all_dead_stops_and_goes_on(site: Any, renders: Any, calls: Calls) -> None:
    spec = renders.job(captions=160_000)
    renders.note(spec, 20_000)
    calls()
    answer = await get(site, f"/v1/jobs/{spec.job}/samples?limit=10")
    assert answer.json()["items"] == []
    assert answer.json()["next_cursor"] is not None
    assert len([key for _, key in calls() if "/commits/" in key]) <= 2 * 10 + 64 + 1


async def test_only_the_beginning_is_listed_above_the_watermark(
    site: Any, renders: Any, huge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, _ = huge(0)
    asked: list[tuple[str, str | None, int | None]] = []
    real = site.store.list

    def listed(prefix: str, *, start_after: str | None = None, limit: int | None = None) -> Any:
        asked.append((prefix, start_after, limit))
        return real(prefix, start_after=start_after, limit=limit)

    monkeypatch.setattr(site.store, "list", listed)
    page = (await get(site, f"/v1/jobs/{spec.job}/samples?limit=10")).json()
    assert {item["unit"] // 250 for item in page["items"]} == {0, 1, 2, 3}
    renders.note(spec, 9_000)
    page = (await get(site, f"/v1/jobs/{spec.job}/samples?limit=10")).json()
    assert {item["unit"] // 2500 for item in page["items"]} == {0, 1, 2, 3}
    commits = [call for call in asked if "/commits/" in call[0]]
    prefix = layout.commits_prefix(spec.job)
    assert commits == [(prefix, None, 1000), (prefix, layout.commit(spec.job, 8_999), 1000)]
