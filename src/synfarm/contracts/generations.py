"""Generations after the first: what opens one, and the plan of a job whose count was raised.

``job.json`` never changes. ``retry`` and ``extend`` each write one create-only opening beside it, and whoever reads a
spec reads the openings with it (:mod:`synfarm.queue.specs`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.ids import JobId, Name
from synfarm.contracts.jobs import JobSpec

__all__ = ["ExtendRequest", "Opening", "planned_by", "unit_of"]


class ExtendRequest(Contract):
    """Body of ``POST /v1/jobs/{id}/extend``."""

    captions: int = Field(ge=1, le=2_000_000_000)
    """Captions planned in all, those of before included; more than the job has."""


class Opening(Contract):
    """``jobs/<job>/generations/<gen>.json``: create-only; from here on the job works on this generation."""

    schema_version: Literal[1] = 1
    job: JobId
    generation: int = Field(ge=2)
    why: Literal["retry", "extend"]
    captions: int = Field(ge=1)
    """Planned in all from this generation on."""
    by: Name
    at: Moment


class _ExtendedSpec(JobSpec):
    """The spec as it is after extensions; made in memory, never stored.

    A unit that was cut short by an earlier total stays as it was committed: the units of an extension begin after it,
    with the first caption that was not planned before. Units and captions thereby stay without gaps.
    """

    extended_from: tuple[int, ...] = ()
    """The totals before each extension, rising."""

    @property
    def units(self) -> int:
        return self._unit_starts()[-1]

    def unit_range(self, unit: int) -> range:
        starts = self._unit_starts()
        if not 0 <= unit < starts[-1]:
            raise ValueError(f"job {self.job} has units 0 to {starts[-1] - 1}, not {unit}")
        part = bisect_right(starts, unit) - 1
        first, end = (0, *self.extended_from)[part], (*self.extended_from, self.captions)[part]
        start = first + (unit - starts[part]) * self.captions_per_unit
        return range(start, min(start + self.captions_per_unit, end))

    def unit_holding(self, index: int) -> int:
        part = bisect_right(self.extended_from, index)
        return self._unit_starts()[part] + (index - (0, *self.extended_from)[part]) // self.captions_per_unit

    def _unit_starts(self) -> tuple[int, ...]:
        """First unit of each part of the plan, and the number of all units."""
        starts = [0]
        for first, end in zip((0, *self.extended_from), (*self.extended_from, self.captions), strict=True):
            starts.append(starts[-1] - (first - end) // self.captions_per_unit)
        return tuple(starts)


def planned_by(spec: JobSpec, openings: Iterable[Opening]) -> JobSpec:
    """The plan of ``spec`` (as frozen in ``job.json``) with its openings, in order of generation."""
    totals = [spec.captions]
    for opening in openings:
        if opening.captions > totals[-1]:
            totals.append(opening.captions)
    if len(totals) == 1:
        return spec
    fields = {name: getattr(spec, name) for name in JobSpec.model_fields}
    return _ExtendedSpec.model_construct(**{**fields, "captions": totals[-1], "extended_from": tuple(totals[:-1])})


def unit_of(spec: JobSpec, index: int) -> int:
    """The unit that holds caption ``index`` of a plan."""
    return spec.unit_holding(index) if isinstance(spec, _ExtendedSpec) else index // spec.captions_per_unit
