"""News of ranks on other machines, from what they leave in the store: metrics, checkpoints, evaluations, segments."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from pydantic import JsonValue

from synfarm.contracts.base import utc_now
from synfarm.storage.protocol import StoreDamaged, StoreUnavailable
from synfarm_trainer.api.journal import JournalLine
from synfarm_trainer.api.live import WINDOW
from synfarm_trainer.api.metrics_parts import MetricsParts
from synfarm_trainer.api.records import RecordMalformed, RunRecords
from synfarm_trainer.config import from_dict
from synfarm_trainer.segment_records import segment_keys, told_of

__all__ = ["StoreTail"]


class StoreTail:
    """What has come since the last look, which is not repeated before ``seconds`` have passed, but for the last one.

    A start may be replaced by the cluster while it is followed: the newest attempt's news count. What cannot be read is
    passed over and told in the log: it is no news, and no fault of the run.
    """

    def __init__(self, records: RunRecords, parts: MetricsParts, run: str, attempt: int, seconds: float) -> None:
        self._records, self._parts, self._run, self._attempt, self._seconds = records, parts, run, attempt, seconds
        self._first, self._looked = attempt, 0.0
        self._step = 0
        self._seen: set[str] = set()

    def read(self, *, last: bool = False) -> list[JournalLine]:
        """The lines that a journal would have. A store that is away has no news."""
        if not last and time.monotonic() - self._looked < self._seconds:
            return []
        found: list[JournalLine] = []
        try:
            for line in self._lines():
                # One by one: what was read before the store went away counts.
                found.append(line)
        except (StoreUnavailable, StoreDamaged):
            pass
        self._looked = time.monotonic()
        return found

    def _lines(self) -> Iterator[JournalLine]:
        yield from self._attempts()
        last = self._parts.last(self._run, self._attempt)
        if last is not None and last.step > self._step:
            # Of a long run that is adopted the end is enough.
            for metrics in self._parts.after(self._run, self._attempt, max(self._step, last.step - WINDOW)):
                yield _line("step", metrics.model_dump(mode="json"))
                self._step = metrics.step
        # What is asked of the store is marked when it has been read: one that goes away is asked again.
        for step, attempt in self._records.checkpoint_keys(self._run):
            mark = f"checkpoint-{step}-{attempt}"
            if attempt == self._attempt and mark not in self._seen:
                commit = None
                with suppress(RecordMalformed):
                    commit = self._records.checkpoint(self._run, step, attempt)
                self._seen.add(mark)
                if commit is not None:
                    yield _line("checkpoint", commit.facts.model_dump(mode="json"))
        for key in self._records.eval_keys(self._run):
            if key not in self._seen:
                told = self._records.eval_record(key)
                self._seen.add(key)
                if told is not None:
                    step, name, data = told
                    yield _line("eval", {**data, "step": step, "name": name})
        yield from self._segments()

    def _segments(self) -> Iterator[JournalLine]:
        """Those of this start and of what the cluster has replaced it by; what a start says again is no news."""
        records = self._records
        for key in segment_keys(records.store, self._run, self._seen):
            if key in self._seen:
                continue
            spec = segment = None
            with suppress(RecordMalformed):
                spec, segment = records.spec(self._run), records.segment(key)
            self._seen.add(key)
            if spec is None or segment is None:
                continue
            if segment.attempt >= self._first and segment.why not in {"begun", "started"}:
                batch = from_dict(spec.config).data.captions_per_batch
                yield _line("segment", {"step": segment.position // batch, **told_of(segment)})

    def _attempts(self) -> Iterator[JournalLine]:
        newest = self._records.attempts(self._run)[-1:]
        if newest and newest[0] > self._attempt:
            with suppress(RecordMalformed):
                if (record := self._records.attempt(self._run, newest[0])) is not None:
                    self._attempt, self._step = newest[0], record.resumed_step
                    yield _line("state", {"attempt": record.number, "resumed_step": record.resumed_step})


def _line(kind: str, data: dict[str, JsonValue]) -> JournalLine:
    return JournalLine.model_validate({"type": kind, "at": utc_now(), "data": data})
