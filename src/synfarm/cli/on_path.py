"""Tells how `synfarm` gets onto the PATH when it was called by its whole path, as `make demo` does."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from synfarm.cli.screen import say

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["activation", "say_activation"]


def activation(environment: Path | None = None) -> str | None:
    """The line for a shell that makes `synfarm` this very command; None if it is already, or nothing would.

    Args:
        environment: the virtual environment; by default the one that runs this.
    """
    folder = Path(sys.prefix if environment is None else environment) / "bin"
    own, activate, found = folder / "synfarm", folder / "activate", shutil.which("synfarm")
    if not own.exists() or not activate.exists() or (found is not None and Path(found).samefile(own)):
        return None
    return f"source {shlex.quote(str(activate.absolute()))}"


def say_activation(console: Console) -> None:
    """One line, if it is needed."""
    if line := activation():
        say(console, f"`{line}` puts `synfarm` on the PATH of this shell.")
