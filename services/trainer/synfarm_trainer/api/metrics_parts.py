"""The uploaded metrics of one attempt: numbered parts of some seconds each, of which only those that are asked for are
read. A run of weeks has hundreds of thousands of them, so that they are neither listed nor read through."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TypeVar

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.runs import StepMetrics
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm.telemetry import get_logger

__all__ = ["MetricsParts"]

_log = get_logger(__name__)
_KNOWN = 4096
"""Parts whose first and last step are remembered. A part is never written anew with other steps."""

Bounds = tuple[int, int]
"""First and last step of a part."""
K = TypeVar("K")
V = TypeVar("V")


class MetricsParts:
    """Thread-safe. Parts of an attempt are numbered from 0 without a gap, and their steps rise.

    Any method may raise StoreUnavailable.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, int, int], Bounds] = OrderedDict()
        self._newest: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._lock = threading.Lock()

    def first_step(self, run: str, attempt: int) -> int | None:
        """Of the attempt; None if nothing of it has been uploaded."""
        bounds = self._bounds(run, attempt, 0)
        return bounds[0] if bounds is not None else None

    def after(self, run: str, attempt: int, step: int) -> Iterator[StepMetrics]:
        """The lines after ``step``, part by part as they are taken."""
        part = self._holding(run, attempt, step + 1)
        while (lines := self._read(run, attempt, part)) is not None:
            yield from (line for line in lines if line.step > step)
            part += 1

    def last(self, run: str, attempt: int) -> StepMetrics | None:
        """The newest line of the attempt."""
        start = self._newest.get((run, attempt), 0)
        # Whether a part is there is told by its bounds: known ones cost nothing.
        part = _last_with(start, lambda number: self._bounds(run, attempt, number) is not None)
        if part is None:
            return None
        with self._lock:
            _remember(self._newest, (run, attempt), part)
        lines = self._read(run, attempt, part)
        return lines[-1] if lines else None

    def _holding(self, run: str, attempt: int, step: int) -> int:
        """The number of the last part that begins at ``step`` or before; 0 if all begin after it."""

        def begins_before(number: int) -> bool:
            bounds = self._bounds(run, attempt, number)
            return bounds is not None and bounds[0] <= step

        with self._lock:
            near = [key[2] for key, bounds in self._known.items() if key[:2] == (run, attempt) and bounds[0] <= step]
        return _last_with(max(near, default=0), begins_before) or 0

    def _bounds(self, run: str, attempt: int, part: int) -> Bounds | None:
        with self._lock:
            known = self._known.get((run, attempt, part))
        if known is not None:
            return known
        lines = self._read(run, attempt, part)
        return (lines[0].step, lines[-1].step) if lines else None

    def _read(self, run: str, attempt: int, part: int) -> list[StepMetrics] | None:
        """None if there is no such part, or nothing of it can be read."""
        key = layout.metrics_part(run, attempt, part)
        try:
            data = self._store.get(key)
        except ObjectMissing:
            return None
        lines = []
        for line in data.splitlines():
            try:
                lines.append(StepMetrics.from_bytes(line))
            except ValidationError as error:
                _log.warning("metrics_line_malformed", key=key, errors=error.error_count())
        if not lines:
            return None
        with self._lock:
            _remember(self._known, (run, attempt, part), (lines[0].step, lines[-1].step))
        return lines


def _last_with(start: int, holds: Callable[[int], bool]) -> int | None:
    """The last number from ``start`` on that ``holds``, which is so up to some number and never after it.

    Asked a number of times that grows with the logarithm of how far that lies from ``start``.
    """
    if not holds(start):
        return None
    low, stride = start, 1
    while holds(low + stride):
        low, stride = low + stride, 2 * stride
    high = low + stride
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _remember(known: OrderedDict[K, V], key: K, value: V) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > _KNOWN:
        known.popitem(last=False)
