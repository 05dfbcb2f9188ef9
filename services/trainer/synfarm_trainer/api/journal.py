"""Following the journal that rank 0 of a training process appends to, without ever waiting for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from synfarm.contracts.base import Moment
from synfarm.telemetry import get_logger

__all__ = ["JournalLine", "JournalTail"]

_log = get_logger(__name__)
_CHUNK = 4 << 20


class JournalLine(BaseModel):
    """One line of ``journal-<attempt>.jsonl``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["step", "checkpoint", "eval", "state"]
    at: Moment
    data: dict[str, JsonValue]


class JournalTail:
    """Reads what has been appended since the last call; a line without its end waits for the rest."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def read(self) -> list[JournalLine]:
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
