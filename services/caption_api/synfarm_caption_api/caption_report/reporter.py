"""Puts a report together, and keeps what reading the sample cost."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from synfarm.contracts.caption_reports import CaptionReport, CaptionSample
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Ended
from synfarm.contracts.views import JobView
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.caption_report.likeness import near_duplicates
from synfarm_caption_api.caption_report.sampling import (
    Extent,
    UnitSample,
    extent_at_end,
    extent_of,
    read_units,
)
from synfarm_caption_api.caption_report.statistics import (
    concept_spread,
    distinct,
    template_counts,
    word_counts,
    words_of_kept,
)

__all__ = ["CaptionReporter", "report_at_end"]

_THREADS = 8
_KEPT = 64
"""Reports in memory; each is some ten kilobytes."""
_GROWTH = 1.05
"""A running job's sample is read again when so much more is written: whoever polls costs little."""


@dataclass(frozen=True, slots=True)
class _Totals:
    """What the counters know exactly."""

    state: JobState
    as_of: datetime
    written: int
    empty: int
    draws: int
    rejections: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Made:
    """A report with what was written when its sample was read."""

    extent: Extent
    final: bool
    report: CaptionReport


class CaptionReporter:
    """Reports for HTTP, on one event loop."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._readers = ThreadPoolExecutor(_THREADS, "caption-report")
        self._turn = asyncio.Semaphore(1)
        """One sample is read at a time: two people who open one report do not read it twice, and a burst of reports
        waits here, where it holds no thread that other requests need."""
        self._made: OrderedDict[str, _Made] = OrderedDict()

    def close(self) -> None:
        """End the threads."""
        self._readers.shutdown()

    async def report(self, spec: JobSpec, view: JobView) -> CaptionReport:
        """The report as of now: totals are those of ``view``, the sample may be up to 5 % of the job older.

        Costs at most 512 objects of captions, and mostly nothing but a listing.

        Raises:
            StoreUnavailable, StoreRefused
        """
        totals = _Totals(
            state=view.state,
            as_of=view.as_of,
            written=view.captions_written,
            empty=view.counts.empty,
            draws=view.draws,
            rejections=view.rejections,
        )
        async with self._turn:
            extent, final = await asyncio.to_thread(extent_of, self._store, spec), view.state.is_final
            made = self._recall(spec, extent, final)
            if made is None:
                made = await asyncio.to_thread(self._make, spec, totals, extent)
                self._made[spec.job] = _Made(extent, final, made)
                while len(self._made) > _KEPT:
                    self._made.popitem(last=False)
        return made.model_copy(update=_exact(spec, totals))

    def _make(self, spec: JobSpec, totals: _Totals, extent: Extent) -> CaptionReport:
        return _report(spec, totals, extent, read_units(self._store, self._readers, spec, extent))

    def _recall(self, spec: JobSpec, extent: Extent, final: bool) -> CaptionReport | None:
        if spec.job not in self._made:
            return None
        self._made.move_to_end(spec.job)
        made = self._made[spec.job]
        grown = not made.extent.units <= extent.units <= made.extent.units * _GROWTH
        return None if grown or made.final != final or made.report.planned != spec.captions else made.report


def report_at_end(store: ObjectStore, spec: JobSpec, ended: Ended) -> CaptionReport:
    """The report for the dataset card of a job that is about to end."""
    totals = _Totals(
        state=ended.state,
        as_of=ended.ended_at,
        written=ended.counts.captions,
        empty=ended.counts.empty,
        draws=ended.draws,
        rejections=ended.rejections,
    )
    extent = extent_at_end(store, spec, ended)
    with ThreadPoolExecutor(_THREADS, "caption-report") as readers:
        return _report(spec, totals, extent, read_units(store, readers, spec, extent))


def _exact(spec: JobSpec, totals: _Totals) -> dict[str, object]:
    return {
        "state": totals.state,
        "as_of": totals.as_of,
        "planned": spec.captions,
        "written": totals.written,
        "empty": totals.empty,
        "draws": totals.draws,
        "acceptance": round(totals.written / totals.draws, 4) if totals.draws else None,
        "rejections": dict(sorted(totals.rejections.items(), key=lambda item: -item[1])),
    }


def _report(spec: JobSpec, totals: _Totals, extent: Extent, sample: UnitSample) -> CaptionReport:
    records = [record for unit in sample.units for record in unit]
    words = words_of_kept(records)
    empty_reasons: dict[str, int] = {}
    for record in records:
        if record.empty_reason is not None:
            empty_reasons[record.empty_reason.value] = empty_reasons.get(record.empty_reason.value, 0) + 1
    return CaptionReport.model_validate(
        {
            "job": spec.job,
            **_exact(spec, totals),
            "sample": CaptionSample(
                units=len(sample.units),
                of_units=max(extent.units, len(sample.units)),
                captions=len(records),
                kept=len(words),
                draws=sum(record.draws for record in records),
                damaged=sample.damaged,
            ),
            "empty_reasons": empty_reasons,
            "words": word_counts(words),
            "distinct": distinct(words),
            "concepts": concept_spread(records),
            "templates": template_counts(records),
            "near_duplicates": near_duplicates(sample.units, totals.written),
        }
    )
