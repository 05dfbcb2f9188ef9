"""The weights that hold for a run, for answers that are asked again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from synfarm.contracts.runs import RunSpec
from synfarm_trainer.api.records import RunRecords

__all__ = ["NewestWeights"]

_KNOWN = 4096
"""Runs whose newest change is remembered."""


@dataclass(frozen=True, slots=True)
class _Known:
    number: int
    etag: str
    weights: tuple[int, ...]


@dataclass(frozen=True)
class NewestWeights:
    """Thread-safe. Each answer lists what there is from the newest known change on, for another service may have
    written one, and reads a change only when it is another. Any method may raise StoreUnavailable and RecordMalformed.
    """

    records: RunRecords
    _known: OrderedDict[str, _Known] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def of(self, spec: RunSpec) -> tuple[int, ...]:
        """Those of the newest change, else those of the request."""
        if not spec.weights:
            return spec.weights
        with self._lock:
            known = self._known.get(spec.run)
        found = self.records.mix_changes_from(spec.run, known.number if known is not None else 0)
        if known is not None and not found:  # the newest is gone, as after a backup was restored
            found = self.records.mix_changes_from(spec.run, 0)
        if not found:
            return spec.weights
        number, etag = found[-1]
        if known is not None and (known.number, known.etag) == (number, etag):
            return known.weights
        change = self.records.mix_change(spec.run, number)
        if change is None:  # deleted since it was listed, with its run
            return spec.weights
        with self._lock:
            self._known[spec.run] = _Known(number, etag, change.weights)
            self._known.move_to_end(spec.run)
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return change.weights
