"""Segments: from which position of its sequence on a run trains on which data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synfarm.contracts.asking import is_none
from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.ids import AttemptId, JobId, RunId, Sha256
from synfarm.contracts.manifests import ManifestPart

__all__ = ["RunSegment", "SegmentDataset", "SegmentStream"]


class SegmentDataset(Contract):
    """One job's manifest generation as far as the run reads it."""

    job: JobId
    generation: int = Field(ge=1)
    parts: int = Field(ge=0)
    """The first so many parts of the generation are read."""
    manifest_sha256: Sha256
    """Over those parts, with the columns that they had when they were added."""
    added: tuple[ManifestPart, ...] = ()
    """Those of them that no earlier segment reads."""
    complete: bool
    """The generation has ended, and these are all its parts: nothing more comes."""


class SegmentStream(Contract):
    """Datasets that share one order of epochs, and where that order stands at the segment's border."""

    datasets: tuple[int, ...] = Field(min_length=1)
    """Places in ``datasets`` of the segment."""
    weight: int = Field(ge=1)
    """Its share of the positions is this over the sum of all streams' weights."""
    groups: int = Field(ge=1)
    """Caption groups of one of its epochs; a reader that counts others has other data."""
    epoch: int = Field(ge=0)
    offset: int = Field(ge=0)
    """Positions of the epoch that lie behind it."""


class RunSegment(Contract):
    """``runs/<run>/segments/<n>.json``: create-only, written before the first batch that it concerns is planned.

    Numbers have no gaps, and every start writes the newest one again under its own name: whoever finds the next number
    taken by a later start has been superseded.
    """

    schema_version: Literal[1] = 1
    run: RunId
    number: int = Field(ge=0)
    attempt: int = Field(ge=0)
    token: AttemptId
    why: Literal["begun", "started", "adopted", "reweighed"]
    """``begun``: the first; ``started``: a start says the newest again; ``adopted``: parts have come; ``reweighed``: a
    user has changed the weights."""
    change: int | None = Field(default=None, ge=0, exclude_if=is_none)
    """Of one that is ``reweighed``: the number of the user's change, :class:`~synfarm.contracts.mixing.MixChange`."""
    position: int = Field(ge=0)
    """The first position of the run's sequence that it concerns; step s takes positions s B to (s + 1) B - 1."""
    datasets: tuple[SegmentDataset, ...] = Field(min_length=1)
    streams: tuple[SegmentStream, ...] = Field(min_length=1)
    at: Moment
