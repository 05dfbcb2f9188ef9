"""One curve of a run out of all its attempts: what a later start went back behind is replaced by what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from synfarm.contracts.runs import StepMetrics
from synfarm_trainer.api.journal import first_step, last_step, steps_after
from synfarm_trainer.api.metrics_parts import MetricsParts
from synfarm_trainer.api.records import RunRecords
from synfarm_trainer.launch.files import RunFiles

__all__ = ["RunCurve"]


@dataclass(frozen=True, slots=True)
class _Span:
    """Steps of one attempt that stand: after ``low``, up to ``high``."""

    attempt: int
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class RunCurve:
    """The journals of this machine, which are ahead of what is uploaded, and the store, which knows what others did.

    Reads what is asked for and little more, however long the run is. Any method may raise StoreUnavailable.
    """

    records: RunRecords
    parts: MetricsParts
    files: RunFiles
    is_followed: Callable[[str, int], bool]
    """Whether (run, attempt) runs here now: its journal then holds all that there is."""

    def page(self, run: str, since: int, limit: int) -> list[StepMetrics]:
        """At most ``limit`` steps after ``since``, in order, one line a step."""
        return list(islice(self._lines(run, since), limit))

    def last(self, run: str, attempts: list[int]) -> tuple[int, StepMetrics] | None:
        """(attempt, newest line) of the newest of ``attempts`` that has any."""
        for number in reversed(attempts):
            found = [self.parts.last(run, number), last_step(self.files.journal(run, number))]
            if lines := [line for line in found if line is not None]:
                return number, max(lines, key=lambda line: line.step)
        return None

    def _lines(self, run: str, since: int) -> Iterator[StepMetrics]:
        for span in self._spans(run):
            if span.high is not None and span.high <= since:
                continue
            for line in self._of_attempt(run, span.attempt, max(since, span.low)):
                if span.high is not None and line.step > span.high:
                    break
                yield line

    def _spans(self, run: str) -> list[_Span]:
        """In order of steps, apart from each other."""
        found: list[_Span] = []
        high: int | None = None
        attempts = self.records.attempts(run)
        for number in reversed(attempts):
            low = self._start(run, number, newest=number == attempts[-1])
            if low is not None and (high is None or low < high):
                found.append(_Span(number, low, high))
                high = low
        return found[::-1]

    def _start(self, run: str, number: int, *, newest: bool) -> int | None:
        """The step that the attempt went on from. Its first step tells it best: it may have passed over a checkpoint
        that was not whole, of which the record does not know. None of an older one that took no step: it replaces
        nothing."""
        first = first_step(self.files.journal(run, number)) or self.parts.first_step(run, number)
        if first is not None:
            return first - 1
        if not newest:
            return None
        record = self.records.attempt(run, number)
        return record.resumed_step if record is not None else 0

    def _of_attempt(self, run: str, number: int, since: int) -> Iterator[StepMetrics]:
        for line in steps_after(self.files.journal(run, number), since):
            yield line
            since = line.step
        if not self.is_followed(run, number):
            yield from self.parts.after(run, number, since)
