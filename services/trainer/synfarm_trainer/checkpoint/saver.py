"""Saving beside the training: a step stands still until its state is copied, and no longer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from synfarm.contracts.runs import CheckpointCommit, CheckpointShare
from synfarm.telemetry import get_logger
from synfarm_trainer.checkpoint.retention import Keep, sweep
from synfarm_trainer.checkpoint.staging import Staging
from synfarm_trainer.checkpoint.store import CheckpointStore
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.shares import COUNTERS

__all__ = ["Saver"]

_log = get_logger(__name__)
_FIRST_LOOK, _LONGEST_LOOK = 0.05, 1.0
"""Seconds between two looks for the shares of other ranks."""
_TOLD_AFTER = 60.0


class Saver:
    """One upload in flight on each rank; the first rank commits in order, and deletes what is not kept.

    The next save waits for this rank's own upload alone, never for another rank: that one may be waiting for this rank
    in a step, or may have failed and be about to say so there. A rank cannot be more than one save ahead of another,
    so at most two commits are waited for.
    """

    def __init__(self, checkpoints: CheckpointStore, ranks: Ranks, keep: Keep) -> None:
        self._checkpoints, self._keep = checkpoints, keep
        self._rank, self._world = ranks.rank, ranks.world
        self._staging = Staging()
        self._uploads = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-upload")
        self._commits = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-commit")
        self._upload: Future[CheckpointShare] | None = None
        self._pending: deque[Future[CheckpointCommit | None]] = deque()
        self._closed = threading.Event()

    def save(self, step: int, share: Mapping[str, Tensor], counters: bytes, since: float) -> float:
        """Begin a checkpoint when this rank's former upload has ended; the tensors may move when this returns.

        Args:
            share: this rank's tensors, by :func:`synfarm_trainer.shares.share_of`.
            counters: what is no tensor; the first rank writes it.
            since: ``time.perf_counter()`` when training stopped for this.

        Returns:
            the seconds since then.

        Raises:
            StoreError: the former upload has failed.
        """
        if self._upload is not None:
            self._upload.result()
        files: dict[str, bytes | memoryview] = {**self._staging.fill(share, self._rank, self._world)}
        self._checkpoints.reach("checkpoint.staged", step)
        if self._rank == 0:
            files[COUNTERS] = counters
        stall = time.perf_counter() - since
        upload = self._upload = self._uploads.submit(
            self._checkpoints.upload, step, files, rank=self._rank, world=self._world, stall_seconds=stall
        )
        commit = self._commits.submit(self._commit if self._rank == 0 else self._follow, upload)
        self._pending.append(commit)
        if self._rank == 0 and self._keep.last:
            self._pending.append(self._commits.submit(self._sweep, commit))
        return stall

    def poll(self) -> list[CheckpointCommit]:
        """What was committed since the last call, without waiting; on the first rank alone there is anything.

        Raises:
            Fenced: a newer attempt exists.
            StoreError: an upload, or something else of the store, has failed for good.
        """
        return self._ended(wait=False)

    def drain(self) -> list[CheckpointCommit]:
        """As :meth:`poll`, when all that was begun has ended. The first rank waits for all others' shares."""
        return self._ended(wait=True)

    def close(self) -> None:
        self._closed.set()
        for pool in (self._uploads, self._commits):
            pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, *, wait: bool) -> list[CheckpointCommit]:
        found = []
        while self._pending and (wait or self._pending[0].done()):
            commit = self._pending.popleft().result()
            if commit is not None:
                found.append(commit)
        return found

    def _commit(self, upload: Future[CheckpointShare]) -> CheckpointCommit | None:
        mine = upload.result()
        others = self._others(mine.step) if self._world > 1 else []
        return None if others is None else self._checkpoints.commit([mine, *others])

    def _follow(self, upload: Future[CheckpointShare]) -> CheckpointCommit | None:
        """The first rank commits; this one has only to tell of its failure."""
        upload.result()
        return None

    def _others(self, step: int) -> list[CheckpointShare] | None:
        """Shares of the other ranks when all have come; None if this rank closes before."""
        pause, began, told = _FIRST_LOOK, time.monotonic(), False
        while (found := self._checkpoints.others(step, self._world)) is None:
            if not told and time.monotonic() - began > _TOLD_AFTER:
                told = True
                _log.warning("checkpoint_waits_for_ranks", step=step, ranks=self._world)
            if self._closed.wait(pause):
                return None
            pause = min(2 * pause, _LONGEST_LOOK)
        return found

    def _sweep(self, commit: Future[CheckpointCommit | None]) -> None:
        """After a commit that stands, and never otherwise."""
        if commit.exception() is None and commit.result() is not None:
            gone = sweep(self._checkpoints, self._keep)
            if gone:
                _log.info("checkpoints_deleted", run=self._checkpoints.run, steps=[step for _, step in gone])
