"""How a start of a run ended: rank 0's own words where it could leave them, a crash where it could not."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["ExitRecord", "Outcome", "last_lines", "read_outcome"]

Ending = Literal["completed", "stopped", "failed", "crashed"]


class ExitRecord(BaseModel):
    """``exit-<attempt>.json``, written by rank 0 as its last act."""

    model_config = ConfigDict(extra="ignore")

    reason: Literal["completed", "stopped", "nan", "data", "config", "fenced", "crash"]
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """``failed`` would fail again from the same checkpoint; ``crashed`` is worth another start."""

    ending: Ending
    reason: str | None


_FINAL = {"nan", "data", "config"}


def read_outcome(record: Path, status: int) -> Outcome:
    """The outcome of a start whose launcher ended with ``status``."""
    try:
        found = ExitRecord.model_validate_json(record.read_bytes())
    except FileNotFoundError:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return Outcome("crashed", f"the training processes ended with {how} and left no exit record")
    except ValidationError as error:
        return Outcome("crashed", f"the exit record {record.name} is damaged: {error.error_count()} errors")
    if found.reason == "completed":
        return Outcome("completed", None)
    if found.reason == "stopped":
        return Outcome("stopped", found.detail)
    words = f"{found.reason}: {found.detail}" if found.detail else found.reason
    return Outcome("failed" if found.reason in _FINAL else "crashed", words)


def last_lines(log: Path, count: int = 12, limit: int = 1500) -> str:
    """The end of a log, for a human who asks why."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, handle.seek(0, 2) - 65536))
            lines = deque(handle.read().decode(errors="replace").splitlines(), maxlen=count)
    except FileNotFoundError:
        return ""
    return "\n".join(lines)[-limit:]
