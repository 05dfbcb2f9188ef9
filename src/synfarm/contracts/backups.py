"""What a backup of a job or a run says of itself: its index, and what the commands print."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.ids import JobId, Sha256

__all__ = ["BackupHead", "BackupLine", "Backups", "Restored", "RestoredList"]


class BackupHead(Contract):
    """First line of ``backups/<id>.jsonl``, which is written last: the backup is whole because it is there."""

    schema_version: Literal[1] = 1
    kind: Literal["job", "run"]
    id: JobId
    """Of the job or the run; runs have ids of the same form."""
    active: bool = False
    """Of a job: it had not ended, and a farm goes on with it once it is restored."""
    jobs: tuple[JobId, ...] = ()
    """Of a run: what it trains on."""
    generation: int = Field(default=1, ge=1)
    objects: int = Field(ge=0)
    bytes: int = Field(ge=0)
    at: Moment


class BackupLine(Contract):
    """One object; lines come in the order in which they may be restored."""

    phase: int = Field(ge=0, le=2)
    """0: what others name; 1: commits, which name it; 2: what names commits. A phase begins when the one before is
    whole; within phase 2 each object waits for the one before."""
    key: str = Field(min_length=1, max_length=512)
    size: int = Field(ge=0)
    sha256: Sha256


class Backups(Contract):
    """What `synfarm backup --json` prints."""

    items: tuple[BackupHead, ...]


class Restored(Contract):
    """A job or a run as `synfarm restore` left it."""

    kind: Literal["job", "run"]
    id: JobId
    objects: int = Field(ge=0)
    """Written; those that were there already are not counted."""
    was_there: bool = False
    """It was in the store already, and nothing of it was touched."""


class RestoredList(Contract):
    """What `synfarm restore --json` prints."""

    items: tuple[Restored, ...]
