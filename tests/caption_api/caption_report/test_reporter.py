"""What a report reads: little, spread over the job, and not again for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, manifest_hash
from synfarm.contracts.views import JobView
from synfarm_caption_api.caption_report.card import section_of
from synfarm_caption_api.caption_report.reporter import CaptionReporter, report_at_end
from synfarm_caption_api.caption_report.sampling import CAPTIONS, UNITS, extent_of

Make = Callable[..., JobSpec]


@pytest.fixture
def reporter(writer: Any) -> Any:
    made = CaptionReporter(writer.store)
    yield made
    made.close()


def view_of(spec: JobSpec, state: JobState = JobState.RUNNING, **changes: Any) -> JobView:
    return JobView(
        job=spec.job,
        name=spec.name,
        owner=spec.owner,
        state=state,
        created_at=spec.created_at,
        planned_captions=spec.captions,
        planned_units=spec.units,
        counts=Counts(),
        as_of=utc_now(),
        **changes,
    )


def told(index: int) -> str:
    return f"a thing with {index} spots on sheet {index * 7}"


async def test_totals_are_exact_and_the_sample_tells_its_size(make_spec: Make, writer: Any, reporter: Any) -> None:
    spec = make_spec(captions=80)
    writer.write(spec, range(6), lambda index: told(index) if index % 8 else None)
    writer.note(spec, 4)
    view = view_of(spec, captions_written=42, draws=60, rejections={"too_short": 1, "concept_lost": 17})
    found = await reporter.report(spec, view)
    assert (found.written, found.draws, found.acceptance) == (42, 60, 0.7)
    assert list(found.rejections.items()) == [("concept_lost", 17), ("too_short", 1)]
    assert found.sample.model_dump() == {
        "units": 6,
        "of_units": 6,
        "captions": 48,
        "kept": 42,
        "draws": 42 + 6 * 9,
        "damaged": 0,
    }
    assert found.empty_reasons == {"concept_lost": 6}
    assert found.words is not None
    assert sum(found.words.histogram.values()) == 42
    section = section_of(found)
    assert "42 of 60 texts (70.0%)" in section
    assert "42 captions of 6 units, spread over 6" in section


async def test_a_job_without_captions_has_a_report_too(make_spec: Make, reporter: Any) -> None:
    found = await reporter.report(make_spec(), view_of(make_spec()))
    assert (found.sample.units, found.acceptance, found.words, found.distinct) == (0, None, None, None)
    assert section_of(found).startswith("## Captions")


async def test_a_huge_job_is_read_at_a_few_places_all_over_it(make_spec: Make, writer: Any, reporter: Any) -> None:
    spec = make_spec(captions=150_000_000, captions_per_unit=8)
    written = set(range(0, spec.units, 4096)) | {2**k for k in range(24) if 2**k < spec.units}
    for unit in sorted(written):
        writer.write(spec, range(unit, unit + 1), told)
    writer.note(spec, spec.units)
    writer.seen.clear()
    found = await reporter.report(spec, view_of(spec))
    reads = [layout.parse_unit(key)[2] for key in writer.reads()]
    assert len(reads) <= 2 * UNITS
    assert len(writer.seen) <= 2 * UNITS + 5
    assert found.sample.units > UNITS // 4
    quarters = {unit * 4 // spec.units for unit in reads}
    assert quarters == {0, 1, 2, 3}


async def test_a_job_whose_units_are_mostly_dead_is_not_read_to_its_end(
    make_spec: Make, writer: Any, reporter: Any
) -> None:
    spec = make_spec(captions=40_000)
    writer.write(spec, range(1000, 1100), told)
    writer.note(spec, spec.units)
    found = await reporter.report(spec, view_of(spec))
    assert len(writer.reads()) == 2 * UNITS
    assert 0 < found.sample.units < 100


async def test_large_units_are_fewer(make_spec: Make, writer: Any, reporter: Any) -> None:
    spec = make_spec(captions=20 * 1024, captions_per_unit=1024)
    writer.write(spec, range(20), lambda index: "a dog" if index % 2 else None)
    writer.note(spec, 20)
    found = await reporter.report(spec, view_of(spec))
    assert (found.sample.units, found.sample.captions) == (8, CAPTIONS)


async def test_the_sample_is_read_again_when_the_job_has_grown_and_when_it_ends(
    make_spec: Make, writer: Any, reporter: Any
) -> None:
    spec = make_spec(captions=800)
    writer.write(spec, range(40), told)
    writer.note(spec, 40)

    async def reads_of(view: JobView) -> int:
        writer.seen.clear()
        report = await reporter.report(spec, view)
        assert report.written == view.captions_written
        return len(writer.reads())

    assert await reads_of(view_of(spec, captions_written=320)) == 40
    assert await reads_of(view_of(spec, captions_written=321)) == 0
    writer.write(spec, range(40, 42), told)
    assert await reads_of(view_of(spec, captions_written=336)) == 0
    writer.write(spec, range(42, 50), told)
    assert await reads_of(view_of(spec, captions_written=400)) == 50
    assert await reads_of(view_of(spec, JobState.CANCELLED, captions_written=400)) == 50
    assert await reads_of(view_of(spec, JobState.CANCELLED, captions_written=400)) == 0


async def test_damage_is_told_and_left_out(make_spec: Make, writer: Any, reporter: Any) -> None:
    spec = make_spec(captions=24)
    writer.write(spec, range(3), told)
    writer.store.put(layout.captions(spec.job, 1), b'{"caption_id": 3}\n')
    found = await reporter.report(spec, view_of(spec))
    assert (found.sample.units, found.sample.damaged) == (2, 1)


def _ended(spec: JobSpec, state: JobState) -> Ended:
    return Ended(
        job=spec.job,
        generation=1,
        state=state,
        planned=spec.captions,
        counts=Counts(captions=20, units_committed=spec.units),
        draws=25,
        parts=(),
        manifest_sha256=manifest_hash(()),
        ended_at=utc_now(),
    )


def test_at_the_end_of_a_job_all_of_it_is_there_whatever_was_noted(make_spec: Make, writer: Any) -> None:
    spec = make_spec(captions=24)
    writer.write(spec, range(3), told)
    found = report_at_end(writer.store, spec, _ended(spec, JobState.COMPLETED))
    assert (found.sample.units, found.acceptance, found.state) == (3, 0.8, JobState.COMPLETED)


def test_what_is_written_of_a_job_that_ended_and_of_one_that_was_cancelled(make_spec: Make, writer: Any) -> None:
    spec = make_spec(captions=80)
    writer.write(spec, range(2), told)
    for state, below, above in ((JobState.COMPLETED, 10, set()), (JobState.CANCELLED, 0, {0, 1})):
        writer.store.put(layout.ended(spec.job, 1), _ended(spec, state).to_bytes())
        extent = extent_of(writer.store, spec)
        assert (extent.below, set(extent.above)) == (below, above)
