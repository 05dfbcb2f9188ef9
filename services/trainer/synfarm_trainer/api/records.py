"""What the store knows of runs: specs, attempts, checkpoints, evaluations and how they ended."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import JsonValue, ValidationError
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import Contract, Moment, utc_now
from synfarm.contracts.ids import RunId, check_ulid
from synfarm.contracts.mixing import MixChange
from synfarm.contracts.runs import CheckpointCommit, RunAttempt, RunEnded, RunSpec
from synfarm.contracts.segments import RunSegment
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm.telemetry import get_logger
from synfarm_trainer.foreign import ours
from synfarm_trainer.mixing import changes_of
from synfarm_trainer.segment_records import segment_keys

__all__ = ["RecordMalformed", "RunRecords", "RunStop", "new_ulid"]

_log = get_logger(__name__)
ContractT = TypeVar("ContractT", bound=Contract)


def new_ulid() -> str:
    """A fresh id; later ones sort after earlier ones."""
    return str(ULID()).lower()


class RecordMalformed(Exception):
    """An object of a run cannot be read as what it should be; the message names its key."""


class RunStop(Contract):
    """``runs/<run>/stop.json``: a user asked for the end of the run."""

    run: RunId
    by: str
    at: Moment


@dataclass(frozen=True, slots=True)
class RunRecords:
    """Thread-safe reader and writer of the objects below ``runs/``. Any method may raise StoreUnavailable; those that
    read one object, RecordMalformed. What is none of ours, or no evaluation or checkpoint, is passed over and told."""

    store: ObjectStore
    _told: set[str] = field(default_factory=set, repr=False, compare=False)

    def ids(self) -> list[str]:
        """Every run, oldest first."""
        return sorted(run for run in self.store.list_folders(layout.runs_prefix()) if self._is_run(run))

    def _is_run(self, name: str) -> bool:
        try:
            return check_ulid(name) == name
        except ValueError:
            self._tell(f"{layout.runs_prefix()}{name}/", "the folder of no run")
            return False

    def _tell(self, key: str, why: str) -> None:
        if key not in self._told:
            self._told.add(key)
            _log.warning("foreign_object", key=key, why=why, hint="it is passed over")

    def spec(self, run: str) -> RunSpec | None:
        """The frozen spec; None if the run does not exist (a folder without ``run.json`` is a run half made)."""
        return self._read(layout.run(run), RunSpec)

    def create(self, spec: RunSpec) -> bool:
        return self.store.create(layout.run(spec.run), spec.to_bytes())

    def ended(self, run: str) -> RunEnded | None:
        return self._read(layout.run_ended(run), RunEnded)

    def end(self, ended: RunEnded) -> RunEnded:
        """Write how the run ended; the record that stands, which may be an earlier one."""
        if self.store.create(layout.run_ended(ended.run), ended.to_bytes()):
            return ended
        with suppress(RecordMalformed):
            return self.ended(ended.run) or ended
        return ended

    def stop(self, run: str, by: str) -> None:
        self.store.create(layout.run_stop(run), RunStop(run=run, by=by, at=utc_now()).to_bytes())

    def is_stopped(self, run: str) -> bool:
        return self.store.head(layout.run_stop(run)) is not None

    def reopen(self, run: str) -> None:
        """Undo an end that is not ``completed``; the end goes first, so that a crash in between leaves it stopped."""
        self.store.delete(layout.run_ended(run))
        self.store.delete(layout.run_stop(run))

    def attempts(self, run: str) -> list[int]:
        listed = self.store.list(layout.attempts_prefix(run))
        return sorted(number for _, number in ours(listed, layout.parse_attempt, self._told))

    def attempt(self, run: str, number: int) -> RunAttempt | None:
        return self._read(layout.attempt(run, number), RunAttempt)

    def open_attempt(self, run: str) -> RunAttempt:
        """Fence every earlier start of the run with a new token: the next free number is this process's alone."""
        while True:
            numbers = self.attempts(run)
            mine = RunAttempt(
                run=run,
                number=numbers[-1] + 1 if numbers else 0,
                token=new_ulid(),
                started_at=utc_now(),
                host=socket.gethostname(),
                resumed_step=self.checkpoint_step(run) or 0,
            )
            if self.store.create(layout.attempt(run, mine.number), mine.to_bytes()):
                return mine

    def checkpoint_keys(self, run: str) -> list[tuple[int, int]]:
        """(step, attempt) of every committed checkpoint, the one that counts last: newest attempt, then latest step."""
        found = ours(self.store.list(layout.checkpoints_prefix(run)), layout.parse_checkpoint, self._told)
        keys = ((step, attempt) for _, (step, attempt, name) in found if name == "commit.json")
        return sorted(keys, key=lambda pair: (pair[1], pair[0]))

    def checkpoint_step(self, run: str) -> int | None:
        keys = self.checkpoint_keys(run)
        return keys[-1][0] if keys else None

    def last_checkpoint(self, run: str) -> CheckpointCommit | None:
        """The one that counts; one that cannot be read, or was deleted since it was listed, is passed over."""
        for step, attempt in reversed(self.checkpoint_keys(run)):
            with suppress(RecordMalformed):
                if (commit := self.checkpoint(run, step, attempt)) is not None:
                    return commit
        return None

    def checkpoint(self, run: str, step: int, attempt: int) -> CheckpointCommit | None:
        return self._read(layout.checkpoint_commit(run, step, attempt), CheckpointCommit)

    def checkpoints(self, run: str) -> list[CheckpointCommit]:
        """Those that can be read, the one that counts last."""
        found = []
        for step, attempt in self.checkpoint_keys(run):
            with suppress(RecordMalformed):
                found.append(self.checkpoint(run, step, attempt))
        return [commit for commit in found if commit is not None]

    def segment(self, key: str) -> RunSegment | None:
        return self._read(key, RunSegment)

    def segment_keys(self, run: str) -> list[str]:
        """By number."""
        return segment_keys(self.store, run, self._told)

    def segments(self, run: str) -> list[RunSegment]:
        """Those that can be read, by number. What waits for a store that is away is left to the caller."""
        found = []
        for key in self.segment_keys(run):
            with suppress(RecordMalformed):
                found.append(self.segment(key))
        return [segment for segment in found if segment is not None]

    def mix_changes(self, run: str) -> list[int]:
        """Numbers of all changes of weights, rising."""
        return changes_of(self.store, run, self._told)

    def mix_changes_from(self, run: str, number: int) -> list[tuple[int, str]]:
        """(number, etag) of the changes of weights from ``number`` on, rising; those before it are not listed."""
        after = layout.mix_change(run, number - 1) if number else None
        listed = self.store.list(layout.mix_changes_prefix(run), start_after=after)
        return sorted((found, info.etag) for info, found in ours(listed, layout.parse_mix_change, self._told))

    def mix_change(self, run: str, number: int) -> MixChange | None:
        return self._read(layout.mix_change(run, number), MixChange)

    def newest_mix_change(self, run: str) -> MixChange | None:
        numbers = self.mix_changes(run)
        return self.mix_change(run, numbers[-1]) if numbers else None

    def evals(self, run: str) -> dict[str, JsonValue]:
        """Evaluation records by step, then by name."""
        found: dict[str, JsonValue] = {}
        for key in self.eval_keys(run):
            if (told := self.eval_record(key)) is not None:
                group = found.setdefault(str(told[0]), {})
                if isinstance(group, dict):
                    group[told[1]] = told[2]
        return found

    def eval_keys(self, run: str) -> list[str]:
        return [info.key for info in self.store.list(layout.evals_prefix(run)) if info.key.endswith(".json")]

    def eval_record(self, key: str) -> tuple[int, str, dict[str, JsonValue]] | None:
        """(step, name, what it says) of an evaluation; None if it is none, or cannot be read."""
        folder, _, name = key.rpartition("/")
        step = folder.rpartition("/")[2]
        try:
            data = json.loads(self.store.get(key))
        except ValueError:
            data = None
        if not isinstance(data, dict) or not step.isdecimal():
            self._tell(key, "no record of an evaluation")
            return None
        return int(step), name.removesuffix(".json"), data

    def _read(self, key: str, kind: type[ContractT]) -> ContractT | None:
        try:
            return kind.from_bytes(self.store.get(key))
        except ObjectMissing:
            return None
        except ValidationError as error:
            fault = error.errors()[0]
            why = f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"
            if key not in self._told:
                self._told.add(key)
                _log.error("object_malformed", key=key, why=why)
            raise RecordMalformed(f"{key} cannot be read: {why}") from error
