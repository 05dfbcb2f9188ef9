"""Checkpoints in the store: tensors first, ``commit.json`` last, fenced by attempts.

Which one counts: that of the *newest attempt* that committed any, and of those the latest step. A start that has been
superseded looks before it commits and gives up; should it slip through between look and commit, its checkpoint still
ranks below every checkpoint of the newer attempt.

Each rank uploads a share of the tensors into one folder, and says in a small object of its own what that was; the first
rank waits for all of them and commits. They meet in the store and nowhere else, so that no step of the training waits
for an upload, and a rank that dies or fails leaves a checkpoint without a commit, which is none.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import CheckpointCommit, CheckpointFile, CheckpointShare
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged
from synfarm.telemetry import get_logger
from synfarm_trainer.foreign import ours
from synfarm_trainer.patience import patiently
from synfarm_trainer.ranks import Ranks

__all__ = ["COMMIT", "CheckpointInvalid", "CheckpointStore", "Fenced"]

_log = get_logger(__name__)
_ALONE = Ranks()
COMMIT = "commit.json"
_READS = 3
"""Of a file whose checksum differs: the fault may lie on the way."""
_FILES = 4
"""Read at a time: one connection to a store is slower than a machine."""


class Fenced(Exception):
    """A newer start of the run exists; this one must not commit or delete any more."""


class CheckpointInvalid(Exception):
    """A committed checkpoint is not whole: a file is missing or its checksum differs."""


def _nowhere(point: str, step: int) -> None:
    """Where no fault is armed."""


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The checkpoints of one run, as one attempt sees them."""

    store: ObjectStore
    run: str
    attempt: int
    token: str
    reach: Callable[[str, int], None] = _nowhere
    """Called with (point, step) at each step of the protocol: fault hooks ``checkpoint.*``."""

    def upload(
        self,
        step: int,
        files: Mapping[str, bytes | memoryview],
        *,
        rank: int = 0,
        world: int = 1,
        stall_seconds: float = 0.0,
    ) -> CheckpointShare:
        """Upload a rank's files, and let the first rank know; waits while the store is away."""
        began = time.monotonic()
        named = []
        for name, data in files.items():
            self.reach("checkpoint.upload", step)
            key = layout.checkpoint_file(self.run, step, self.attempt, name)
            patiently(self.store.put, key, data)
            named.append(CheckpointFile(key=key, sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
        share = CheckpointShare(
            run=self.run,
            step=step,
            attempt=self.attempt,
            token=self.token,
            rank=rank,
            world_size=world,
            files=tuple(named),
            stall_seconds=stall_seconds,
            upload_seconds=time.monotonic() - began,
        )
        if rank > 0:
            self.reach("checkpoint.share", step)
            patiently(self.store.put, layout.checkpoint_share(self.run, step, self.attempt, rank), share.to_bytes())
        return share

    def others(self, step: int, world: int) -> list[CheckpointShare] | None:
        """What all ranks but the first have uploaded; None while one of them has not."""
        found = self._names(step)
        keys = [layout.checkpoint_share(self.run, step, self.attempt, rank) for rank in range(1, world)]
        if not found.issuperset(keys):
            return None
        return [CheckpointShare.from_bytes(patiently(self.store.get, key)) for key in keys]

    def _names(self, step: int) -> set[str]:
        prefix = layout.checkpoint_prefix(self.run, step, self.attempt)
        return set(patiently(lambda: [info.key for info in self.store.list(prefix)]))

    def commit(self, shares: Sequence[CheckpointShare]) -> CheckpointCommit:
        """Make a checkpoint of the shares of all ranks.

        Raises:
            Fenced: a newer attempt exists.
        """
        first = shares[0]
        commit = CheckpointCommit(
            run=self.run,
            step=first.step,
            attempt=self.attempt,
            token=self.token,
            world_size=first.world_size,
            files=tuple(file for share in shares for file in share.files),
            stall_seconds=max(share.stall_seconds for share in shares),
            upload_seconds=max(share.upload_seconds for share in shares),
            committed_at=utc_now(),
        )
        self.look()
        self.reach("checkpoint.commit", commit.step)
        patiently(self.store.put, layout.checkpoint_commit(self.run, commit.step, self.attempt), commit.to_bytes())
        self.reach("checkpoint.committed", commit.step)
        return commit

    def look(self) -> None:
        """
        Raises:
            Fenced: a newer attempt exists.
        """
        listed = patiently(lambda: list(self.store.list(layout.attempts_prefix(self.run))))
        newest = max((number for _, number in ours(listed, layout.parse_attempt)), default=self.attempt)
        if newest > self.attempt:
            raise Fenced(f"attempt {self.attempt} of run {self.run} has been superseded by attempt {newest}")

    def folders(self) -> dict[tuple[int, int], dict[str, int]]:
        """Sizes by name of all that lies in each checkpoint's folder, by (attempt, step), the one that counts first."""
        found: dict[tuple[int, int], dict[str, int]] = {}
        listed = patiently(lambda: list(self.store.list(layout.checkpoints_prefix(self.run))))
        for info, (step, attempt, name) in ours(listed, layout.parse_checkpoint):
            found.setdefault((attempt, step), {})[name] = info.size
        return dict(sorted(found.items(), reverse=True))

    def committed(self) -> list[tuple[int, int]]:
        """(attempt, step) of every commit object, the one that counts first."""
        return [place for place, names in self.folders().items() if COMMIT in names]

    def read_commit(self, attempt: int, step: int) -> CheckpointCommit:
        """
        Raises:
            CheckpointInvalid: there is none, or it cannot be read.
        """
        key = layout.checkpoint_commit(self.run, step, attempt)
        try:
            commit = CheckpointCommit.from_bytes(patiently(self.store.get, key))
            names = [layout.parse_checkpoint(file.key)[2] for file in commit.files]
            if len(set(names)) < len(names) or not all(file.size for file in commit.files):
                raise ValueError("it names a file twice, or an empty one")
        except (ObjectMissing, StoreDamaged, ValueError) as error:
            raise CheckpointInvalid(f"{key}: {error}") from error
        return commit

    def load(self, attempt: int, step: int) -> dict[str, bytes]:
        """All files of one checkpoint by name, proven.

        Raises:
            CheckpointInvalid: it is not whole.
        """
        commit = self.read_commit(attempt, step)
        return {layout.parse_checkpoint(key)[2]: data for key, data in self._proven_files(commit.files).items()}

    def _proven_files(self, files: Sequence[CheckpointFile]) -> dict[str, bytes]:
        """By key."""
        with ThreadPoolExecutor(_FILES, "checkpoint") as pool:
            return {file.key: data for file, data in zip(files, pool.map(self._proven, files), strict=True)}

    def _proven(self, file: CheckpointFile) -> bytes:
        for _ in range(_READS):
            try:
                data = patiently(self.store.get, file.key)
            except (ObjectMissing, StoreDamaged) as error:
                raise CheckpointInvalid(f"{file.key}: {error}") from error
            if len(data) == file.size and hashlib.sha256(data).hexdigest() == file.sha256:
                return data
        raise CheckpointInvalid(f"{file.key}: the checksum differs from the commit's")

    def newest(self, ranks: Ranks = _ALONE) -> tuple[int, int, dict[str, bytes]] | None:
        """(attempt, step, files) of the newest checkpoint that is whole for every rank, the same on all of them.

        To be called on every rank: the first one knows which there are, each one reads a part of the files and hands it
        to the others, for all of them need all. What is broken for one of them is passed over, with a warning.
        """
        places = self.committed() if ranks.is_first else []
        while True:
            place = torch.tensor(places.pop(0) if places else (-1, 0), dtype=torch.int64)
            attempt, step = ranks.broadcast(place).tolist()
            if attempt < 0:
                return None
            if (files := self._together(attempt, step, ranks)) is not None:
                return attempt, step, files

    def _together(self, attempt: int, step: int, ranks: Ranks) -> dict[str, bytes] | None:
        """All files by name, on every rank; None if one of them cannot read its part."""
        read: dict[str, bytes] = {}
        files: tuple[CheckpointFile, ...] = ()
        readers: list[int] = []
        same = 0
        try:
            commit = self.read_commit(attempt, step)
            files, readers = commit.files, _readers(commit.files, ranks.world)
            read = self._proven_files([file for file, rank in zip(files, readers, strict=True) if rank == ranks.rank])
            same = 1 + int.from_bytes(hashlib.sha256(commit.to_bytes()).digest()[:7])
        except CheckpointInvalid as error:
            _log.warning("checkpoint_skipped", run=self.run, step=step, attempt=attempt, error=str(error))
        # What is handed out is what the commit names: one commit on all ranks, or nothing.
        seen = ranks.gather(torch.tensor([same], dtype=torch.int64))
        if not same or not bool((seen == same).all()):
            return None
        return {
            layout.parse_checkpoint(file.key)[2]: ranks.hand_out(read.pop(file.key, None), file.size, rank)
            for file, rank in zip(files, readers, strict=True)
        }


def _readers(files: Sequence[CheckpointFile], world: int) -> list[int]:
    """The rank that reads each file: the largest first, each by the rank that has the fewest bytes."""
    loads, found = [0] * world, [0] * len(files)
    for place in sorted(range(len(files)), key=lambda place: (-files[place].size, place)):
        found[place] = min(range(world), key=loads.__getitem__)
        loads[found[place]] += files[place].size
    return found
