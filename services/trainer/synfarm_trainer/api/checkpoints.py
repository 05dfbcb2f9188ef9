"""The committed checkpoints of a run, and whether what each names is there."""

from __future__ import annotations

from synfarm.contracts import layout
from synfarm.contracts.pages import CheckpointInfo
from synfarm_trainer.api.records import RunRecords

__all__ = ["list_checkpoints"]


def list_checkpoints(records: RunRecords, run: str) -> tuple[CheckpointInfo, ...]:
    """Of one listing; the one that counts is last.

    Raises:
        StoreUnavailable: the store is away.
    """
    sizes = {info.key: info.size for info in records.store.list(layout.checkpoints_prefix(run))}
    return tuple(
        CheckpointInfo(
            **dict(commit),
            bytes=sum(file.size for file in commit.files),
            whole=all(sizes.get(file.key) == file.size for file in commit.files),
        )
        for commit in records.checkpoints(run)
    )
