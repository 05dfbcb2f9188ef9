"""Following the journal that rank 0 of a training process appends to, without ever waiting for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from synfarm.contracts.base import Moment
from synfarm.contracts.runs import StepMetrics
from synfarm.telemetry import get_logger

__all__ = ["JournalLine", "JournalTail", "first_step", "last_step", "steps_after"]

_log = get_logger(__name__)
_CHUNK = 4 << 20
_NEAR = 1 << 16
"""Bytes that are read through rather than halved once more."""


class JournalLine(BaseModel):
    """One line of ``journal-<attempt>.jsonl``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["step", "checkpoint", "eval", "segment", "state"]
    at: Moment
    data: dict[str, JsonValue]


class JournalTail:
    """Reads what has been appended since the last call; a line without its end waits for the rest."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def read(self, *, last: bool = False) -> list[JournalLine]:
        """The new complete lines; malformed ones are logged and left out."""
        found: list[JournalLine] = []
        while chunk := self._complete_lines():
            self._offset += len(chunk)
            for line in chunk.splitlines():
                try:
                    found.append(JournalLine.model_validate_json(line))
                except ValidationError as error:
                    _log.warning("journal_line_malformed", path=str(self._path), errors=error.error_count())
        return found

    def _complete_lines(self) -> bytes:
        try:
            with self._path.open("rb") as handle:
                handle.seek(self._offset)
                chunk = handle.read(_CHUNK)
        except FileNotFoundError:
            return b""
        return chunk[: chunk.rfind(b"\n") + 1]


def steps_after(path: Path, step: int) -> Iterator[StepMetrics]:
    """The step lines after ``step``, found by halving the file, which may be large; nothing without a file."""
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return
    with handle:
        low, high = 0, handle.seek(0, 2)
        while high - low > _NEAR:
            middle = (low + high) // 2
            handle.seek(middle)
            handle.readline()  # the rest of a line that began before
            found = next(_steps(handle), None)
            if found is not None and found.step <= step:
                low = handle.tell()
            else:
                high = middle
        handle.seek(low)
        yield from (line for line in _steps(handle) if line.step > step)


def first_step(path: Path) -> int | None:
    """Number of the first step in a journal; None without any."""
    found = next(steps_after(path, -1), None)
    return found.step if found is not None else None


def last_step(path: Path) -> StepMetrics | None:
    """The last step line of a journal; None without any."""
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return None
    with handle:
        size = handle.seek(0, 2)
        back = _NEAR
        while True:
            handle.seek(max(0, size - back))
            if back < size:
                handle.readline()
            found = deque(_steps(handle), maxlen=1)
            if found or back >= size:
                return found[0] if found else None
            back *= 4


def _steps(handle: BinaryIO) -> Iterator[StepMetrics]:
    """Whole step lines from where ``handle`` stands; others are passed over."""
    while (line := handle.readline()).endswith(b"\n"):
        try:
            read = JournalLine.model_validate_json(line)
            if read.type == "step":
                yield StepMetrics.model_validate(read.data)
        except ValidationError:
            continue  # told by the tail that follows the run
