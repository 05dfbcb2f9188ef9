"""Checkpoints in the store: tensors first, ``commit.json`` last, fenced by attempts.

Which one counts: that of the *newest attempt* that committed any, and of those the latest step. A start that has been
superseded looks before it commits and gives up; should it slip through between look and commit, its checkpoint still
ranks below every checkpoint of the newer attempt. Checkpoints are never deleted here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import CheckpointCommit, CheckpointFile
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged
from synfarm.telemetry import get_logger
from synfarm_trainer.patience import patiently

__all__ = ["CheckpointInvalid", "CheckpointStore", "Fenced", "Saver"]

_log = get_logger(__name__)


class Fenced(Exception):
    """A newer start of the run exists; this one must not commit any more."""


class CheckpointInvalid(Exception):
    """A committed checkpoint is not whole: a file is missing or its checksum differs."""


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The checkpoints of one run, as one attempt sees them."""

    store: ObjectStore
    run: str
    attempt: int
    token: str

    def save(self, step: int, world_size: int, files: Mapping[str, bytes]) -> CheckpointCommit:
        """Upload the files, then commit; waits while the store is away.

        Raises:
            Fenced: a newer attempt exists.
        """
        named = []
        for name, data in files.items():
            key = layout.checkpoint_file(self.run, step, self.attempt, name)
            patiently(self.store.put, key, data)
            named.append(CheckpointFile(key=key, sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
        commit = CheckpointCommit(
            run=self.run,
            step=step,
            attempt=self.attempt,
            token=self.token,
            world_size=world_size,
            files=tuple(named),
            committed_at=utc_now(),
        )
        self._look()
        patiently(self.store.put, layout.checkpoint_commit(self.run, step, self.attempt), commit.to_bytes())
        return commit

    def _look(self) -> None:
        keys = patiently(lambda: [info.key for info in self.store.list(layout.attempts_prefix(self.run))])
        newest = max((layout.parse_attempt(key) for key in keys), default=self.attempt)
        if newest > self.attempt:
            raise Fenced(f"attempt {self.attempt} of run {self.run} has been superseded by attempt {newest}")

    def committed(self) -> list[tuple[int, int]]:
        """(attempt, step) of every commit object, the one that counts first."""
        infos = patiently(lambda: list(self.store.list(layout.checkpoints_prefix(self.run))))
        found = (layout.parse_checkpoint(info.key) for info in infos)
        return sorted(((attempt, step) for step, attempt, name in found if name == "commit.json"), reverse=True)

    def load(self, attempt: int, step: int) -> dict[str, bytes]:
        """All files of one checkpoint by name, proven.

        Raises:
            CheckpointInvalid: it is not whole.
        """
        key = layout.checkpoint_commit(self.run, step, attempt)
        try:
            commit = CheckpointCommit.from_bytes(patiently(self.store.get, key))
            files: dict[str, bytes] = {}
            for file in commit.files:
                data = patiently(self.store.get, file.key)
                if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
                    raise CheckpointInvalid(f"{file.key}: the checksum differs from the commit's")
                files[layout.parse_checkpoint(file.key)[2]] = data
        except (ObjectMissing, StoreDamaged, ValidationError) as error:
            raise CheckpointInvalid(f"{key}: {error}") from error
        return files

    def newest(self) -> tuple[int, int, dict[str, bytes]] | None:
        """(attempt, step, files) of the newest whole checkpoint; broken ones are passed over with a warning."""
        for attempt, step in self.committed():
            try:
                return attempt, step, self.load(attempt, step)
            except CheckpointInvalid as error:
                _log.warning("checkpoint_skipped", run=self.run, step=step, attempt=attempt, error=str(error))
        return None


class Saver:
    """Uploads beside the training, one checkpoint in flight."""

    def __init__(self, checkpoints: CheckpointStore) -> None:
        self._checkpoints = checkpoints
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._flight: Future[CheckpointCommit] | None = None

    def save(self, step: int, world_size: int, files: Mapping[str, bytes]) -> CheckpointCommit | None:
        """Begin an upload after the former one has ended; the former's commit, if there was one.

        Raises:
            Fenced: as of the former.
        """
        former = self.drain()
        self._flight = self._pool.submit(self._checkpoints.save, step, world_size, files)
        return former

    def poll(self) -> CheckpointCommit | None:
        """The commit of an upload that has ended since the last call, without waiting.

        Raises:
            Fenced: it was refused.
        """
        return self.drain() if self._flight is not None and self._flight.done() else None

    def drain(self) -> CheckpointCommit | None:
        """Wait for the upload in flight; its commit.

        Raises:
            Fenced: it was refused.
        """
        flight, self._flight = self._flight, None
        return flight.result() if flight is not None else None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
