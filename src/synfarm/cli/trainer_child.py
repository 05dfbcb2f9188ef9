"""Runs a part of the trainer's package as a process of its own: it loads torch, which this command must not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from synfarm.cli.child import run_child
from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from synfarm.settings import StoreSettings

__all__ = ["run_trainer_part", "store_environment"]

_PACKAGE = "synfarm_trainer"
_CODES = {2: ExitCode.REFUSED, 3: ExitCode.UNREACHABLE}


def store_environment(settings: StoreSettings) -> dict[str, str]:
    """The variables that name this store to a child."""
    named = {
        "ENDPOINT": settings.endpoint,
        "ACCESS_KEY": settings.access_key.get_secret_value(),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "SECURE": str(settings.secure),
        **({} if settings.ca_file is None else {"CA_FILE": str(settings.ca_file)}),
        "REGION": settings.region,
        "BUCKET": settings.bucket,
        "PREFIX": settings.prefix,
    }
    return {f"SYNFARM_STORE_{name}": value for name, value in named.items()}


def run_trainer_part(
    part: str, words: Sequence[str], environment: Mapping[str, str], tell: Callable[[str], None]
) -> None:
    """``python -m synfarm_trainer.<part> <words>``, until it ends well.

    Args:
        tell: takes each line of progress.

    Raises:
        CommandFailed: the packages are missing, or it failed; the message is the child's last line.
    """
    if find_spec(_PACKAGE) is None or find_spec("torch") is None:
        raise CommandFailed("this needs the trainer's packages: pip install 'synfarm[trainer]'.", ExitCode.REFUSED)
    command = [sys.executable, "-m", f"{_PACKAGE}.{part}", *words]
    code, last = run_child(command, {**os.environ, **environment}, tell)
    if code != 0:
        _, _, reason = last.partition(": ")
        told = reason or f"it ended with code {code} and gave no reason"
        raise CommandFailed(told if told.endswith(".") else f"{told}.", _CODES.get(code, ExitCode.FAILED))
