"""The launcher for one machine: torchrun as a child that cannot outlive the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from synfarm_trainer.launch.devices import ALL, DeviceSet
from synfarm_trainer.launch.files import RunFiles
from synfarm_trainer.launch.leftovers import MARK, end_marked, mark_of
from synfarm_trainer.launch.outcome import Outcome, last_lines, read_outcome

__all__ = ["LocalChild", "LocalLauncher", "launch_command"]

Command = Callable[[str, int, int, Path], Sequence[str]]
"""(run, attempt, ranks, state folder) to the command line of one start."""


def launch_command(run: str, attempt: int, ranks: int, state_dir: Path) -> list[str]:
    """torchrun with exit codes of ours, see :mod:`synfarm_trainer.launch.codes`."""
    return [
        *(sys.executable, "-m", "synfarm_trainer.launch", "--run-id", run, "--attempt", str(attempt)),
        *("--ranks", str(ranks), "--state-dir", str(state_dir)),
    ]


class LocalChild:
    """A launcher process that leads a session of its own, so that one signal reaches its whole group."""

    def __init__(self, process: subprocess.Popen[bytes], attempt: int, record: Path, log: Path, mark: str) -> None:
        self._process, self._record, self._log, self._mark = process, record, log, mark
        self.attempt = attempt

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def standing(self) -> None:
        """Nothing: its processes are there."""

    def poll(self) -> Outcome | None:
        status = self._process.poll()
        return None if status is None else read_outcome(self._record, status)

    def last_lines(self) -> str:
        return last_lines(self._log)

    def terminate(self) -> None:
        # To the launcher alone: torchrun passes it on, and a second one would count as impatience.
        self._process.terminate()

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        end_marked(self._mark)


class LocalLauncher:
    """Runs ranks on this machine. Use from one thread that lives as long as the process does.

    The child asks the kernel for SIGKILL at the death of the *thread* that started it, so the agent dies with a
    service that is itself killed with SIGKILL; the ranks ask the same of the agent.
    """

    outlives_service = False

    def __init__(
        self,
        files: RunFiles,
        *,
        command: Command = launch_command,
        env: Mapping[str, str] | None = None,
        grace: float = 20.0,
    ) -> None:
        self._files, self._command, self._env, self._grace = files, command, dict(env or {}), grace

    def start(self, run: str, attempt: int, ranks: int, devices: DeviceSet = ALL) -> LocalChild:
        folder = self._files.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        mark = mark_of(self._files.state_dir, run)
        env = {
            **os.environ,
            **self._env,
            **devices.environment(),
            MARK: mark,
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(max(1, int(self._grace))),
            "PYTHONUNBUFFERED": "1",
        }
        log = self._files.log(run, attempt)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "synfarm.local.launch", str(os.getpid())),
                    *self._command(run, attempt, ranks, self._files.state_dir),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        return LocalChild(process, attempt, self._files.exit_record(run, attempt), log, mark)

    def adopt(self, run: str) -> None:
        """Nothing: children die with their service."""

    def clear(self, run: str) -> int:
        return end_marked(mark_of(self._files.state_dir, run))
