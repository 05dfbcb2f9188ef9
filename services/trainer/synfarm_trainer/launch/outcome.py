"""How a start of a run ended: its ranks' own words where they could leave them, a crash where they could not."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from synfarm_trainer.launch.codes import FINAL, NOT_COUNTED, ExitCode

__all__ = ["ExitRecord", "Outcome", "last_lines", "outcome_of", "read_outcome"]

Ending = Literal["completed", "stopped", "failed", "crashed"]


class ExitRecord(BaseModel):
    """``exit-<attempt>.json``, written by a rank as its last act."""

    model_config = ConfigDict(extra="ignore")

    reason: Literal["completed", "stopped", "nan", "data", "config", "fenced", "crash", "lost_rank", "terminated"]
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """``failed`` would fail again from the same checkpoint; ``crashed`` is worth another start."""

    ending: Ending
    reason: str | None


def outcome_of(code: ExitCode, detail: str | None = None) -> Outcome:
    """What an exit code means, in the words of whoever ended with it."""
    if code is ExitCode.COMPLETED:
        return Outcome("completed", None)
    if code in NOT_COUNTED:
        return Outcome("stopped", detail)
    words = f"{code.reason}: {detail}" if detail else code.reason
    return Outcome("failed" if code in FINAL else "crashed", words)


def read_outcome(record: Path, status: int) -> Outcome:
    """The outcome of a start whose launcher ended with ``status``; negative is a signal."""
    how = f"signal {-status}" if status < 0 else f"status {status}"
    try:
        found = ExitRecord.model_validate_json(record.read_bytes())
    except FileNotFoundError:
        words = f"the training processes ended with {how} and left no exit record"
        if status in {ExitCode.LOST_RANK, ExitCode.TERMINATED}:
            return outcome_of(ExitCode(status), words)
        return Outcome("crashed", words)
    except ValidationError as error:
        return Outcome("crashed", f"the exit record {record.name} is damaged: {error.error_count()} errors")
    return outcome_of(ExitCode.of(found.reason), found.detail)


def last_lines(log: Path, count: int = 12, limit: int = 1500) -> str:
    """The end of a log, for a human who asks why."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, handle.seek(0, 2) - 65536))
            lines = deque(handle.read().decode(errors="replace").splitlines(), maxlen=count)
    except FileNotFoundError:
        return ""
    return "\n".join(lines)[-limit:]
