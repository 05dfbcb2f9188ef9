"""Where a run's local files lie: the journal that rank 0 writes, its exit record, and the log of every start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synfarm.contracts.ids import check_ulid

__all__ = ["RunFiles"]


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Paths below the service's state folder; nothing here is needed once the run's objects are in the store."""

    state_dir: Path

    def folder(self, run: str) -> Path:
        return self.state_dir / "runs" / check_ulid(run)

    def journal(self, run: str, attempt: int) -> Path:
        """Append-only JSON lines, written by rank 0."""
        return self.folder(run) / f"journal-{attempt:06d}.jsonl"

    def exit_record(self, run: str, attempt: int) -> Path:
        """Why rank 0 ended, in its own words; missing if it was killed."""
        return self.folder(run) / f"exit-{attempt:06d}.json"

    def log(self, run: str, attempt: int) -> Path:
        """Standard output and error of the launcher and all ranks."""
        return self.folder(run) / f"log-{attempt:06d}.txt"
