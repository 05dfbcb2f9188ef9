"""The data of a run that mixes its jobs by weights or follows them while they render: held and added to by segments.

A followed job's manifest grows part by part. New parts are taken in where an epoch of their stream ends, and nowhere
else; that they are is recorded as a segment before a batch of them is planned. So the order of a run is a function of
its segments, and a start that resumes reads them instead of the job's news: it looks for more only behind the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from synfarm.contracts import layout
from synfarm.contracts.manifests import ManifestPart, manifest_hash
from synfarm.contracts.runs import DatasetRef, RunAttempt, RunSpec
from synfarm.contracts.segments import RunSegment, SegmentDataset, SegmentStream
from synfarm.storage.manifest_reader import ManifestDamaged, open_hash, read_ended, read_open_parts
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.course import Course
from synfarm_trainer.data.growth import course_of, increments_of
from synfarm_trainer.data.manifest import Dataset, DatasetInvalid, Increment
from synfarm_trainer.mixing import newest_change
from synfarm_trainer.patience import patiently
from synfarm_trainer.proving import surely
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.segment_records import read_segments
from synfarm_trainer.segments import SegmentStore

__all__ = ["SegmentedData"]

_log = get_logger(__name__)
SegmentStreams = tuple[SegmentStream, ...]


@dataclass(frozen=True, slots=True)
class _Border:
    """Where an epoch of a stream ends."""

    position: int
    stream: int


class SegmentedData:
    """Dataset and order of a run; all ranks hold the same and call the same methods in the same order."""

    def __init__(
        self,
        store: ObjectStore,
        spec: RunSpec,
        config: TrainConfig,
        attempt: RunAttempt,
        ranks: Ranks,
        load: Callable[[Sequence[Increment]], Dataset],
    ) -> None:
        """
        Args:
            load: reads increments, filtered as the run wants them.

        Raises:
            DatasetInvalid: what the run or its segments name is not there.
            ValueError: a batch takes more of a dataset than it has.
            Fenced: a newer start has begun.
        """
        self._store, self._spec, self._config, self._ranks, self._load = store, spec, config, ranks, load
        self._records = SegmentStore(store, spec.run, attempt.number, attempt.token)
        self._read: tuple[list[Increment], Dataset] | None = None
        known = self._reweighed(self._records.begin(self._first), attempt) if ranks.is_first else []
        self._numbers = int(ranks.broadcast(torch.tensor([len(known)])))
        known = known or read_segments(store, spec.run)[: self._numbers]
        self.opened = known[-1] if known[-1].why == "reweighed" else None
        """Every start says its own segment last."""
        self._take(known)
        self._complete = [item.complete for item in self._legs[-1].datasets]
        self._looked = -1
        self._border: _Border | None = None

    def _reweighed(self, known: list[RunSegment], attempt: RunAttempt) -> list[RunSegment]:
        """On the first rank: the segments, behind them one for a change of weights that none has taken in."""
        if not self._spec.weights or (change := patiently(newest_change, self._store, self._spec.run)) is None:
            return known
        if any(segment.change is not None and segment.change >= change.number for segment in known):
            return known
        # Where a checkpoint of this step turns out not to be whole, the steps up to it are those that they were.
        position = attempt.resumed_step * self._config.data.captions_per_batch
        mine = self._records.reweigh(known[-1], position, change)
        _log.info("weights_changed", run=self._spec.run, position=mine.position, weights=list(change.weights))
        return [*known, mine]

    def _take(self, segments: Sequence[RunSegment]) -> None:
        self._legs = [segment for segment in segments if segment.why != "started"]
        self.dataset, self.plan = self._built(self._legs)

    def _built(self, legs: Sequence[RunSegment], *, draft: bool = False) -> tuple[Dataset, Course]:
        wanted = increments_of(legs)
        if self._read is None or self._read[0] != wanted:
            self._read = wanted, patiently(self._load, wanted)
        dataset = self._read[1]
        return dataset, course_of(legs, dataset, self._spec.seed, self._config.data, draft=draft)

    def _counted(
        self, legs: Sequence[RunSegment], position: int, datasets: Sequence[SegmentDataset], begun: SegmentStreams
    ) -> SegmentStreams:
        """The streams with the groups of their epochs, which only reading the datasets tells."""
        draft = RunSegment(
            run=self._spec.run,
            number=len(legs),
            attempt=self._records.attempt,
            token=self._records.token,
            why="adopted" if legs else "begun",
            position=position,
            datasets=tuple(datasets),
            streams=begun,
            at=self._spec.created_at,
        )
        _, course = self._built([*legs, draft], draft=True)
        found = course.last.streams
        return tuple(s.model_copy(update={"groups": f.groups}) for s, f in zip(begun, found, strict=True))

    def _first(self) -> tuple[tuple[SegmentDataset, ...], SegmentStreams]:
        """What the run begins with, as its spec froze it."""
        datasets = tuple(patiently(self._begun, ref) for ref in self._spec.datasets)
        weights = self._spec.weights or (1,)
        places = [(n,) for n in range(len(weights))] if self._spec.weights else [tuple(range(len(datasets)))]
        streams = tuple(
            SegmentStream(datasets=mine, weight=weight, groups=1, epoch=0, offset=0)
            for mine, weight in zip(places, weights, strict=True)
        )
        return datasets, self._counted([], 0, datasets, streams)

    def _begun(self, ref: DatasetRef) -> SegmentDataset:
        key = layout.ended(ref.job, ref.generation)
        try:
            if ref.parts is None:
                parts = surely(lambda: read_ended(self._store, key)).parts
            else:
                parts = tuple(read_open_parts(self._store, ref.job, ref.generation)[: ref.parts])
        except ManifestDamaged as error:
            raise DatasetInvalid(f"{error}; `synfarm verify {ref.job}` tells what else is damaged") from error
        if (manifest_hash if ref.parts is None else open_hash)(parts) != ref.manifest_sha256:
            raise DatasetInvalid(
                f"the manifest of job {ref.job}, generation {ref.generation}, is another than the run froze "
                f"({ref.manifest_sha256[:12]}…)"
            )
        return SegmentDataset(
            job=ref.job,
            generation=ref.generation,
            parts=len(parts),
            manifest_sha256=manifest_hash(parts),
            added=parts,
            complete=ref.parts is None,
        )

    def next_look(self, step: int) -> int:
        """The step from ``step`` on before which :meth:`look` must be called: its batch holds the border of an epoch of
        a job that may have grown. The number of steps if there is none.
        """
        steps, batch = self._config.schedule.steps, self._config.data.captions_per_batch
        behind = max(self._looked, step * batch - 1)
        borders = [
            _Border(self._end_after(number, behind), number)
            for number, stream in enumerate(self._legs[-1].streams)
            if self._spec.follow and not all(self._complete[place] for place in stream.datasets)
        ]
        self._border = min(borders, key=lambda border: border.position, default=None)
        return steps if self._border is None else min(steps, self._border.position // batch)

    def _end_after(self, stream: int, behind: int) -> int:
        """The first border of the stream after ``behind`` at which nobody can have looked."""
        last = self.plan.last
        # Where an ``adopted`` leg begins, what had come has been taken in; where a ``reweighed`` one does, nothing has.
        changed = behind < last.begins and self._legs[-1].why == "reweighed"
        if changed and self.plan.epoch_ends_where_last_begins(stream):
            return last.begins
        return last.end_after(stream, max(behind, last.begins))

    def look(self) -> RunSegment | None:
        """At the border that :meth:`next_look` told of: take in what has come; the new segment, or None.

        Raises:
            DatasetInvalid: the job's end record does not begin with what the run has read.
            Fenced: a newer start has begun.
        """
        border = self._border
        if border is None:
            return None
        self._looked = border.position
        news = self._news(border) if self._ranks.is_first else None
        told = torch.tensor([int(news is not None), *map(int, self._complete)])
        grown, *complete = self._ranks.broadcast(told).tolist()
        self._complete = [bool(value) for value in complete]
        if not grown:
            return None
        self._numbers += 1
        segment = news or read_segments(self._store, self._spec.run)[self._numbers - 1]
        self._take([*self._legs, segment])
        return segment

    def _news(self, border: _Border) -> RunSegment | None:
        """On the first rank: the segment of what has come, written."""
        before = self._legs[-1]
        datasets = [item.model_copy(update={"added": ()}) for item in before.datasets]
        for place in before.streams[border.stream].datasets:
            if not self._complete[place]:
                datasets[place] = patiently(self._grown, datasets[place], before)
                self._complete[place] = datasets[place].complete
        if not any(item.added for item in datasets):
            return None
        streams = tuple(
            stream.model_copy(update={"epoch": stands.epoch, "offset": stands.offset})
            for stream, stands in zip(before.streams, self.plan.last.standings(border.position), strict=True)
        )
        streams = self._counted(self._legs, border.position, datasets, streams)
        return self._records.adopt(self._numbers, border.position, tuple(datasets), streams)

    def _grown(self, known: SegmentDataset, before: RunSegment) -> SegmentDataset:
        """The dataset with the parts that have come since."""
        key = layout.ended(known.job, known.generation)
        parts: list[ManifestPart] = [
            part for leg in self._legs for item in leg.datasets if item.job == known.job for part in item.added
        ]
        try:
            if ended := self._store.head(key) is not None:
                found = surely(lambda: read_ended(self._store, key)).parts
                if open_hash(found[: known.parts]) != open_hash(parts):
                    raise DatasetInvalid(f"{key} does not begin with the {known.parts} parts that segments name")
                added = found[known.parts :]
            else:
                added = tuple(read_open_parts(self._store, known.job, known.generation, first=known.parts))
        except ManifestDamaged as error:
            raise DatasetInvalid(f"{error}; `synfarm verify {known.job}` tells what else is damaged") from error
        if ended:
            _log.info("job_has_ended", run=before.run, job=known.job, generation=known.generation)
        return known.model_copy(
            update={
                "parts": known.parts + len(added),
                "manifest_sha256": manifest_hash([*parts, *added]),
                "added": added,
                "complete": ended,
            }
        )
