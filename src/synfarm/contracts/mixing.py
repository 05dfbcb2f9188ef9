"""How often a run draws captions of each of its jobs, as a user changes it while the run is on its way."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.ids import Name, RunId

__all__ = ["MixChange", "MixRequest"]


class MixRequest(Contract):
    """Body of ``POST /v1/runs/{id}/weights``."""

    weights: tuple[float, ...] = Field(min_length=1, max_length=64)
    """One positive number a job, in the order of the run's jobs: ``[0.7, 0.3]``."""


class MixChange(Contract):
    """``runs/<run>/weights/<n>.json``: create-only, numbered from 0 without gaps; the newest holds.

    The next start of the run lets a segment begin at the step that it resumes from, with these weights and this number.
    """

    schema_version: Literal[1] = 1
    run: RunId
    number: int = Field(ge=0)
    weights: tuple[int, ...] = Field(min_length=1)
    """As whole numbers, one a dataset."""
    by: Name
    at: Moment
