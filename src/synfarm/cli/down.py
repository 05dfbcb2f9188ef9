"""`synfarm down`: stop the farm of this machine in good order."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import in_words, living_stack, nearby
from synfarm.cli.options import DataDir
from synfarm.cli.screen import errors, say

if TYPE_CHECKING:
    from synfarm.local.finding import Found

__all__ = ["down"]

_PATIENCE, _SHORT = 90.0, 15.0
"""Seconds for units in work to be handed back; and once more, when everything is killed."""


def down(data_dir: DataDir = None) -> None:
    """Stop the farm that runs here; what it has made stays, and `synfarm up` goes on with it.

    A farm that is stopped already is no error.
    """
    from synfarm.local.finding import Condition

    looked = nearby(data_dir)
    if any(found.lives for found in looked):
        _stop(living_stack(data_dir))
        return
    for found in looked:
        if found.condition is Condition.STALE:
            # Entering the folder removes what the dead stack said of itself.
            with found.folder:
                say(errors(), f"The farm in {found.folder.root} was killed; nothing of it runs any more.")
            return
    known = [found for found in looked if found.condition is Condition.STOPPED]
    if known:
        say(errors(), f"The farm in {known[0].folder.root} is stopped already.")
        return
    told = ", ".join(f"{found.folder.root} ({in_words(found)})" for found in looked)
    raise CommandFailed(f"nothing to stop: looked in {told}.", ExitCode.UNREACHABLE)


def _stop(found: Found) -> None:
    console, root = errors(), found.folder.root
    if found.pid is None:
        raise CommandFailed(f"the farm in {root} has only just started: try again.")
    say(console, f"Stopping the farm in {root} (process {found.pid}) …")
    for patience in (_PATIENCE, _SHORT):
        _send(found.pid, root)
        if _is_gone(found, patience):
            say(console, "Stopped. What it has made is kept.")
            return
    raise CommandFailed(f"process {found.pid} does not stop; `kill -9 {found.pid}` ends it and all that it started.")


def _send(pid: int, root: object) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise CommandFailed(f"the farm in {root} belongs to another user of this machine.") from None


def _is_gone(found: Found, patience: float) -> bool:
    from synfarm.local.finding import look

    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if look(found.folder.root).pid != found.pid:
            return True
        time.sleep(0.1)
    return False
