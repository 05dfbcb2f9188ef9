"""Segments in the store: create-only, without gaps, and fenced by their numbers alone.

Every start of a run first writes the newest segment again under its own name. From then on an older start that still
lives finds the number that it would take next taken by a newer one, and gives up: what it has not recorded never held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.mixing import MixChange
from synfarm.contracts.segments import RunSegment, SegmentDataset, SegmentStream
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.checkpoint import Fenced
from synfarm_trainer.mixing import reweighed
from synfarm_trainer.patience import patiently
from synfarm_trainer.segment_records import read_segments

__all__ = ["SegmentStore"]


@dataclass(slots=True)
class SegmentStore:
    """The segments of one run as one start sees them, which it may add to."""

    store: ObjectStore
    run: str
    attempt: int
    token: str

    def begin(
        self, first: Callable[[], tuple[tuple[SegmentDataset, ...], tuple[SegmentStream, ...]]]
    ) -> list[RunSegment]:
        """Fence every earlier start; all segments there are, this start's own the last of them.

        Args:
            first: makes what the run begins with if it has none.

        Raises:
            Fenced: a newer start has begun.
        """
        while True:
            known = read_segments(self.store, self.run)
            if known and known[-1].attempt > self.attempt:
                raise self._superseded(known[-1].attempt)
            if known and known[-1].attempt == self.attempt:
                return known
            if known:
                again = {"added": ()}
                datasets = tuple(item.model_copy(update=again) for item in known[-1].datasets)
                mine = self._draft(len(known), "started", known[-1].position, datasets, known[-1].streams)
            else:
                mine = self._draft(0, "begun", 0, *first())
            if self._create(mine):
                return [*known, mine]

    def adopt(
        self,
        number: int,
        position: int,
        datasets: tuple[SegmentDataset, ...],
        streams: tuple[SegmentStream, ...],
    ) -> RunSegment:
        """Record that from ``position`` on there are more parts.

        Raises:
            Fenced: a newer start has begun.
        """
        return self._written(self._draft(number, "adopted", position, datasets, streams))

    def reweigh(self, before: RunSegment, position: int, change: MixChange) -> RunSegment:
        """Record that from ``position`` on streams have other weights.

        Args:
            before: the newest segment.

        Raises:
            Fenced: a newer start has begun.
        """
        datasets = tuple(item.model_copy(update={"added": ()}) for item in before.datasets)
        position = max(position, before.position)
        streams = reweighed(before, position, change.weights)
        mine = self._draft(before.number + 1, "reweighed", position, datasets, streams)
        return self._written(mine.model_copy(update={"change": change.number}))

    def _written(self, mine: RunSegment) -> RunSegment:
        if not self._create(mine):
            raise Fenced(f"segment {mine.number} of run {self.run} is not that of attempt {self.attempt}")
        return mine

    def _draft(
        self,
        number: int,
        why: str,
        position: int,
        datasets: tuple[SegmentDataset, ...],
        streams: tuple[SegmentStream, ...],
    ) -> RunSegment:
        return RunSegment.model_validate(
            {
                "run": self.run,
                "number": number,
                "attempt": self.attempt,
                "token": self.token,
                "why": why,
                "position": position,
                "datasets": datasets,
                "streams": streams,
                "at": utc_now(),
            }
        )

    def _create(self, mine: RunSegment) -> bool:
        """Whether it stands; a reader learns of a lost answer by the token.

        Raises:
            Fenced: what stands is of a newer start.
        """
        key = layout.segment(self.run, mine.number)
        if patiently(self.store.create, key, mine.to_bytes()):
            return True
        there = RunSegment.from_bytes(patiently(self.store.get, key))
        if there.attempt > self.attempt:
            raise self._superseded(there.attempt)
        return there.attempt == self.attempt and there.token == self.token and there.position == mine.position

    def _superseded(self, by: int) -> Fenced:
        return Fenced(f"attempt {self.attempt} of run {self.run} has been superseded by attempt {by}")
