"""A farm in the background: the process that keeps it, and how its parent learns that it is ready or why it is not.

The child tells what happens by lines of JSON on its stdout, a pipe to the parent, until it is ready; from then on both
its streams go to the log file. It has a session of its own, so that closing the terminal does not end it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from synfarm.cli.exits import CommandFailed, ExitCode, explain
from synfarm.cli.interrupts import run_interruptible
from synfarm.cli.screen import errors, say

if TYPE_CHECKING:
    from synfarm.local.state import StackState

__all__ = ["main", "start_detached"]

_TAIL = 2000


def start_detached(root: Path, api_port: int | None, trainer_port: int | None) -> StackState:
    """Start the farm in ``root`` in the background; ready on return.

    Raises:
        CommandFailed: it did not come up; or the user interrupted, and nothing runs any more.
    """
    from synfarm.local.finding import look

    command = [sys.executable, "-m", __name__, str(root.expanduser().resolve())]
    for option, port in (("--port", api_port), ("--trainer-port", trainer_port)):
        command += [option, str(port)] if port is not None else []
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            start_new_session=True,
        )
        try:
            _wait_ready(child, root, complaints)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        finally:
            if child.stdout is not None:
                child.stdout.close()
    state = look(root).state
    if state is None:
        raise CommandFailed(f"the farm in {root} has just ended; `synfarm logs` shows why.")
    return state


def _wait_ready(child: subprocess.Popen[str], root: Path, complaints: IO[bytes]) -> None:
    console = errors()
    say(console, f"== starting the farm in {root} (its logs: {root / 'logs'})")
    try:
        for line in child.stdout or ():
            told: dict[str, Any] = json.loads(line)
            if "failed" in told:
                raise CommandFailed(told["failed"], ExitCode(told["code"]))
            if "ready" in told:
                return
            if told["state"] != "starting":
                say(console, f"   {told['process']}: {told['state']}")
    except KeyboardInterrupt:
        say(console, "stopping it again …")
        raise CommandFailed("interrupted; nothing runs any more.", ExitCode.INTERRUPTED) from None
    complaints.seek(0)
    last = complaints.read()[-_TAIL:].decode(errors="replace").strip()
    raise CommandFailed(f"the farm ended before it was ready: {last or 'it said nothing'}")


def _tell(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _to_log(log: Path) -> None:
    """Both streams into the log: the parent, and with it the pipe, goes away now."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


async def _serve(root: Path, api_port: int | None, trainer_port: int | None) -> None:
    from synfarm.local.stack import run_stack

    ready = False

    def changed(name: str, state: str) -> None:
        if not ready:
            _tell(process=name, state=state)

    async with run_stack(root, api_port=api_port, trainer_port=trainer_port, on_change=changed) as stack:
        _tell(ready=True)
        ready = True
        _to_log(stack.state.logs / "supervisor.log")
        await stack.supervisor.guard(asyncio.Event().wait())


def main() -> int:
    """Keep the farm until SIGTERM; the exit code."""
    from synfarm.telemetry import configure_logging

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--trainer-port", type=int)
    given = parser.parse_args()
    configure_logging("info", "console", process="supervisor")
    try:
        run_interruptible(_serve(given.root, given.port, given.trainer_port))
    except asyncio.CancelledError:
        return 0
    except BrokenPipeError:
        return ExitCode.READER_GONE
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        _tell(failed=str(failure), code=int(failure.code))
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
