"""torchrun in this process, and the one exit code that tells why it ended: by itself it says 1 for everything."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from pydantic import ValidationError

from synfarm.slow_imports import collector_at_rest
from synfarm.telemetry import get_logger
from synfarm_trainer.journal import leave_exit_record
from synfarm_trainer.launch.codes import ExitCode
from synfarm_trainer.launch.files import RunFiles
from synfarm_trainer.launch.outcome import ExitRecord

__all__ = ["Gang", "run_agent"]

_log = get_logger(__name__)
_PAUSE = 2.0
"""Seconds before ranks look for the other machines again."""
_LOOK, _BARRIER = 0.5, 5.0
"""Seconds between two looks for an exit record, and from a record of ``stopped`` to the end of waiting for others."""
_KILLS = (signal.SIGKILL, signal.SIGTERM)
"""How ranks are ended from outside (the kernel without memory, an eviction); other signals are their own faults."""


@dataclass(frozen=True, slots=True)
class Gang:
    """All ranks of a start, over ``nodes`` machines of which this is number ``node``."""

    run: str
    attempt: int
    state_dir: Path
    ranks: int
    """On each machine."""
    nodes: int = 1
    node: int = 0
    endpoint: str = "localhost:0"
    """host:port at which machines meet; machine 0 serves it."""
    join_seconds: float = 600.0
    """How long a machine waits for the others."""
    new_attempt: bool = False

    def arguments(self) -> list[str]:
        """torchrun's. With one machine as its ``--standalone``, but with a rendezvous id of its own: agents that share
        an id join each other's group."""
        meeting = [*("--nnodes", str(self.nodes)), *("--nproc-per-node", str(self.ranks)), *("--max-restarts", "0")]
        meeting += [*("--rdzv-backend", "c10d"), *("--rdzv-endpoint", self.endpoint)]
        meeting += ["--rdzv-id", f"{self.run}-{self.attempt}"]
        if self.nodes == 1:
            meeting += ["--local-addr", "127.0.0.1"]
        else:
            # Said, because a guess by host name is wrong where a name of a service leads to the machine.
            host = "true" if self.node == 0 else "false"
            meeting += ["--rdzv-conf", f"is_host={host},join_timeout={self.join_seconds:.0f}"]
        meeting += ["--log-dir", str(self.notes)]
        rank = ["-m", "synfarm_trainer.run", "--run-id", self.run, "--attempt", str(self.attempt)]
        return [*meeting, *rank, "--state-dir", str(self.state_dir), *(["--new-attempt"] if self.new_attempt else [])]

    @property
    def notes(self) -> Path:
        """Folder of torchrun's own files, which it would leave in the temporary folder when it is killed."""
        return RunFiles(self.state_dir).folder(self.run) / f"torchrun-{self.node}"

    def records(self) -> set[Path]:
        """The exit records that lie there."""
        return set((self.state_dir / "runs" / self.run).glob("exit-*.json"))


def run_agent(gang: Gang, on_stopped: Callable[[ExitCode, str | None], None]) -> tuple[ExitCode, str | None]:
    """Start this machine's ranks and wait for them; code and detail of how they ended.

    Args:
        on_stopped: called from another thread when ranks of several machines have stopped and torchrun still waits
            for the agent that was asked to leave: it would for five minutes. To end the process.
    """
    # A process that is the first of its container is deaf to signals without a handler. torchrun sets its own later.
    signal.signal(signal.SIGTERM, _leave)
    known = gang.records()
    if gang.nodes > 1:
        threading.Thread(target=_watch, args=(gang, known, on_stopped), name="stopped", daemon=True).start()
    rmtree(gang.notes, ignore_errors=True)  # of a start that was killed: there is one at a time
    try:
        failure = _torchrun(gang.arguments(), gang.join_seconds if gang.nodes > 1 else 0.0)
    except _Terminated:
        failure = (ExitCode.TERMINATED, "asked to leave before a checkpoint could be saved")
    rmtree(gang.notes, ignore_errors=True)
    found = sorted(gang.records() - known)
    if not found:
        code, words = failure or (ExitCode.CRASH, "the ranks ended and left no exit record")
        leave_exit_record(RunFiles(gang.state_dir).exit_record(gang.run, gang.attempt), code.reason, words, 0)
        return code, words
    code, detail = _told(found[-1])
    if code is ExitCode.LOST_RANK and failure is not None and failure[0] is code:
        # Who was killed says more than what the others saw of it.
        return failure
    return code, detail


class _Terminated(Exception):
    """SIGTERM came while there were no ranks."""


def _leave(number: int, frame: object) -> None:
    raise _Terminated


def _watch(gang: Gang, known: set[Path], on_stopped: Callable[[ExitCode, str | None], None]) -> None:
    while True:
        time.sleep(_LOOK)
        if found := sorted(gang.records() - known):
            code, detail = _told(found[-1])
            if code is ExitCode.STOPPED:
                time.sleep(_BARRIER)
                on_stopped(code, detail)
            return


def _told(record: Path) -> tuple[ExitCode, str | None]:
    try:
        found = ExitRecord.model_validate_json(record.read_bytes())
    except ValidationError as error:
        return ExitCode.CRASH, f"the exit record {record.name} is damaged: {error.error_count()} errors"
    return ExitCode.of(found.reason), found.detail


def _torchrun(arguments: Sequence[str], patience: float) -> tuple[ExitCode, str] | None:
    """None if all ranks ended with 0, else what torchrun alone can tell.

    Raises:
        _Terminated: SIGTERM.
    """
    with collector_at_rest():
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.elastic.rendezvous.api import RendezvousError
        from torch.distributed.run import parse_args, run

    deadline = time.monotonic() + patience
    while True:
        try:
            run(parse_args(list(arguments)))  # type: ignore[no-untyped-call]
        except SignalException:
            raise _Terminated from None
        except ChildFailedError as error:
            ended = {rank: failure.exitcode for rank, failure in error.failures.items()}
            killed = [f"rank {rank} by signal {-code}" for rank, code in ended.items() if -code in _KILLS]
            if killed:
                return ExitCode.LOST_RANK, f"ended from outside: {', '.join(killed)}"
            return ExitCode.CRASH, ", ".join(_words(rank, code) for rank, code in ended.items())
        except RendezvousError as error:
            # No rank has begun. A machine that comes back early finds the old meeting, or none.
            if time.monotonic() > deadline:
                return ExitCode.LOST_RANK, f"the other machines did not come: {error}"
            _log.warning("machines_missing", error=f"{error}"[:300])
            time.sleep(_PAUSE)
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an exit code
            _log.error("agent_failed", exc_info=True)
            sys.stderr.flush()
            return ExitCode.CRASH, f"torchrun: {error!r}"
        else:
            return None


def _words(rank: int, code: int) -> str:
    return f"rank {rank} ended with {f'signal {-code}' if code < 0 else f'status {code}'} and no exit record"
