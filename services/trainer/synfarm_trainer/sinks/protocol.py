"""The seam between a session and whoever wants to know what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from synfarm.contracts.runs import RunSpec

__all__ = ["Opener", "RecordKind", "RunOpening", "Sink"]

RecordKind = Literal["step", "checkpoint", "eval", "state"]
"""``step``: the fields of ``StepMetrics``; ``state``: ``completed``, ``stopped`` and ``failed`` come last."""


@dataclass(frozen=True, slots=True)
class RunOpening:
    """Whose records will come."""

    spec: RunSpec
    attempt: int
    resumed_step: int
    """Steps after it may come again: what an earlier start told of them holds no longer."""
    total_steps: int


class Sink(Protocol):
    """Takes the records of one start of a run, in order, from one thread. The journal is one too.

    Whatever it raises switches it off; the run goes on.
    """

    def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
        """One record, as JSON values."""

    def close(self) -> None:
        """No more will come: write out what is held back."""


Opener = Callable[[RunOpening], Sink]
"""May take its time and may fail, for it runs in the sink's own thread."""
