"""News of ranks on other machines, from what they leave in the store: metrics, checkpoints, evaluations."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from pydantic import JsonValue

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.storage.protocol import StoreUnavailable
from synfarm_trainer.api.journal import JournalLine
from synfarm_trainer.api.live import WINDOW
from synfarm_trainer.api.metrics_parts import MetricsParts
from synfarm_trainer.api.records import RunRecords

__all__ = ["StoreTail"]


class StoreTail:
    """What has come since the last look, which is not repeated before ``seconds`` have passed, but for the last one.

    A start may be replaced by the cluster while it is followed: the newest attempt's news count.
    """

    def __init__(self, records: RunRecords, parts: MetricsParts, run: str, attempt: int, seconds: float) -> None:
        self._records, self._parts, self._run, self._attempt, self._seconds = records, parts, run, attempt, seconds
        self._looked = 0.0
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
        except StoreUnavailable:
            pass
        self._looked = time.monotonic()
        return found

    def _lines(self) -> Iterator[JournalLine]:
        newest = self._records.attempts(self._run)[-1:]
        if newest and newest[0] > self._attempt and (record := self._records.attempt(self._run, newest[0])):
            self._attempt, self._step = newest[0], record.resumed_step
            yield _line("state", {"attempt": record.number, "resumed_step": record.resumed_step})
        last = self._parts.last(self._run, self._attempt)
        if last is not None and last.step > self._step:
            # Of a long run that is adopted the end is enough.
            for metrics in self._parts.after(self._run, self._attempt, max(self._step, last.step - WINDOW)):
                yield _line("step", metrics.model_dump(mode="json"))
                self._step = metrics.step
        for step, attempt in self._records.checkpoint_keys(self._run):
            if attempt == self._attempt and self._is_new(f"checkpoint-{step}-{attempt}"):
                yield _line("checkpoint", {"step": step, "attempt": attempt})
        store, evals = self._records.store, layout.evals_prefix(self._run)
        for info in store.list(evals):
            step_text, _, name = info.key.removeprefix(evals).partition("/")
            if name.endswith(".json") and info.key not in self._seen:
                told = json.loads(store.get(info.key))
                self._seen.add(info.key)  # not before: a store that goes away here is asked for it again
                yield _line("eval", {**told, "step": int(step_text), "name": name.removesuffix(".json")})

    def _is_new(self, mark: str) -> bool:
        new = mark not in self._seen
        self._seen.add(mark)
        return new


def _line(kind: str, data: dict[str, JsonValue]) -> JournalLine:
    return JournalLine.model_validate({"type": kind, "at": utc_now(), "data": data})
