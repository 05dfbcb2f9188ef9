"""The batch size: found by doubling, remembered on disk for the next start."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from synfarm.telemetry import get_logger
from synfarm.whole_file import write_whole

__all__ = ["BatchBook", "BatchKey", "DoesNotFit", "tuned"]

_log = get_logger(__name__)

_GAIN = 1.03
"""A batch that is not this much faster than half of it only costs memory."""
_FULL = 0.85
"""Share of the device's memory above which a batch leaves too little for whatever comes by."""
LARGEST = 256


class DoesNotFit(Exception):
    """A batch is too large for the device's memory."""


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What a batch size depends on."""

    device: str
    model: str
    revision: str | None
    size: int
    """px drawn."""
    passes: str
    """``guided`` (two rows of the network an image) or ``plain``."""
    dtype: str

    def __str__(self) -> str:
        return json.dumps([self.device, self.model, self.revision, self.size, self.passes, self.dtype])


def tuned(seconds_of: Callable[[int], float], memory_used: Callable[[], float], *, largest: int = LARGEST) -> int:
    """The batch size after which doubling gains little, or finds no room.

    ``seconds_of(batch)`` draws one batch and tells its seconds, or raises :class:`DoesNotFit`; ``memory_used()`` is
    the share of the device's memory that is taken after it. Batch 1 is taken for granted.
    """
    best, rate = 1, 0.0
    batch = 1
    while batch <= largest:
        try:
            now = batch / seconds_of(batch)
        except DoesNotFit:
            break
        if now < rate * _GAIN:
            break
        used = memory_used()
        if used > _FULL and batch > 1:
            break
        best, rate = batch, now
        if used > _FULL:
            break
        batch *= 2
    return best


class BatchBook:
    """A JSON file of batch sizes by :class:`BatchKey`; one file for all processes of a machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: BatchKey) -> int | None:
        return self._read().get(str(key))

    def put(self, key: BatchKey, batch: int) -> None:
        """Written whole or not at all; a cache that cannot be written costs a tuning at the next start, no more."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # a second GPU's worker must not write over this entry
                book = self._read() | {str(key): batch}
                write_whole(self._path, json.dumps(book, indent=1, sort_keys=True).encode())
        except OSError as error:
            _log.warning("batch_not_remembered", file=str(self._path), error=str(error))

    def _read(self) -> dict[str, int]:
        try:
            book = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _log.warning("batch_file_ignored", file=str(self._path), error=str(error))
            return {}
        if not isinstance(book, dict) or any(not isinstance(b, int) or not 1 <= b <= 4096 for b in book.values()):
            _log.warning("batch_file_ignored", file=str(self._path), error="not batch sizes by key")
            return {}
        return book
