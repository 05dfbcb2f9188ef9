"""Asking the farm: a bounded number of requests, a few in flight, and every lack said instead of raised."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.report.gathering import Gathered, gather
from synfarm.report.options import ReportOptions
from synfarm.sdk import NotFound


async def gathered(farm: Any, run: bool = True, **options: int) -> Gathered:
    async with farm.client() as client:
        return await gather(client, farm.job, farm.run if run else None, ReportOptions(**options))


async def test_everything_is_read(farm: Any) -> None:
    found = await gathered(farm)
    assert found.notes == {}
    assert found.llm_model == "HuggingFaceTB/SmolLM2-135M"
    assert len(found.metrics) == 200
    assert found.pca_rows == ("dog", "apple")
    assert found.job_spec is not None
    assert found.run_spec is not None


async def test_first_captions_of_all_concepts_come_before_second_ones(farm: Any) -> None:
    found = await gathered(farm)
    shown = [(one.group.concept, one.group.index) for one in found.gallery]
    assert shown == [("apple", 1), ("dog", 0), ("apple", 3), ("dog", 2)]
    assert all(len(one.pictures) == 4 for one in found.gallery)


async def test_requests_are_few_at_a_time(farm: Any) -> None:
    farm.groups = [farm.group(i, f"concept {i}", "a thing.") for i in range(20)]
    await gathered(farm, concurrency=3)
    # The gallery's own, and one each of what is asked beside it: about the job, about the run.
    assert 3 <= farm.most_in_flight <= 5


async def test_a_job_of_many_concepts_is_bounded(farm: Any) -> None:
    farm.groups = [farm.group(i, f"concept {i % 900}", "a thing.", images=9) for i in range(2_000)]
    found = await gathered(farm, concepts=10, captions_per_concept=2, sample_pages=7)
    assert farm.requests["samples"] == 7
    assert len(found.gallery) == 10
    assert farm.requests["image"] == 10 * 4


async def test_pages_end_as_soon_as_the_gallery_is_full(farm: Any) -> None:
    farm.page_size = 2
    farm.groups = [farm.group(i, f"concept {i % 2}", "a thing.") for i in range(1000)]
    await gathered(farm, concepts=2)
    assert farm.requests["samples"] == 2


async def test_short_and_empty_pages_are_followed(farm: Any) -> None:
    farm.page_size = 1
    found = await gathered(farm)
    assert len(found.gallery) == 4


async def test_damaged_captions_of_all_pages_are_counted(farm: Any) -> None:
    farm.page_size = 2
    farm.damaged = tuple(f"{farm.job}-{index:010d}" for index in (70, 71))
    found = await gathered(farm, run=False, captions_per_concept=3)
    assert farm.requests["samples"] == 3
    assert found.notes["damaged"].startswith(
        f"What is stored of 6 captions is not what was committed, for example of {farm.damaged[0]}"
    )


async def test_the_gallery_stops_at_its_size(farm: Any) -> None:
    one = len((await gathered(farm)).gallery[0].pictures[0].uri)
    found = await gathered(farm, gallery_bytes=9 * one, concurrency=1)
    assert len(found.gallery) == 2
    assert "too large" in found.notes["gallery size"]


async def test_a_long_run_is_read_in_windows(farm: Any) -> None:
    farm.steps = 500_000
    found = await gathered(farm, metrics_requests=10)
    assert farm.requests["metrics"] == 10 == found.metrics_windows
    steps = [line.step for line in found.metrics]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (1, 500_000)
    assert len(steps) <= 5_000


async def test_a_run_of_several_pages_is_read_whole(farm: Any) -> None:
    farm.steps = 12_000
    found = await gathered(farm)
    assert [line.step for line in found.metrics] == list(range(1, 12_001))
    assert farm.requests["metrics"] == 3


@pytest.mark.parametrize(
    ("absent", "part"),
    [
        ("job_spec", "job configuration"),
        ("run_spec", "run configuration"),
        ("captions", "language model"),
        ("samples", "gallery"),
        ("image", "images"),
        ("metrics", "metrics"),
        ("artifacts", "artifacts"),
        ("artifact", "patch features"),
    ],
)
async def test_what_does_not_answer_is_noted(farm: Any, absent: str, part: str) -> None:
    farm.absent = frozenset({absent})
    found = await gathered(farm)
    assert list(found.notes) == [part]
    assert "There is no /v1/" in found.notes[part]


@pytest.mark.parametrize("absent", ["job", "run"])
async def test_without_the_job_or_the_run_there_is_no_report(farm: Any, absent: str) -> None:
    farm.absent = frozenset({absent})
    with pytest.raises(NotFound):
        await gathered(farm)


async def test_bytes_that_are_no_image_are_noted(farm: Any) -> None:
    farm.image_bytes = lambda caption_id, k: b"<svg/>" if k == 1 else farm.picture()
    farm.files["patch-pca.png"] = b"<html>"
    found = await gathered(farm)
    assert all(len(one.pictures) == 3 for one in found.gallery)
    assert {"images", "patch features"} == set(found.notes)


async def test_an_answer_of_another_version_is_noted(farm: Any) -> None:
    farm.strange = frozenset({"job_spec", "samples"})
    farm.files["patch-pca.json"] = b'{"rows": "none"}'
    found = await gathered(farm)
    assert found.notes["job configuration"] == "The farm is of another version: its answer is no JobSpec of this one."
    assert "SamplePage" in found.notes["gallery"]
    assert "could not be read" in found.notes["patch features"]
    assert found.pca is not None


@pytest.mark.parametrize("name", ["concepts", "concurrency", "gallery_bytes"])
def test_options_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        ReportOptions(**{name: 0})
