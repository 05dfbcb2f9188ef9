"""Runs the process that draws a comparison: it loads torch, which this command must not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from synfarm.cli.child import run_child
from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from synfarm.contracts.comparisons import ComparisonPlan

__all__ = ["run_comparison"]


def run_comparison(
    module: str, plan: ComparisonPlan, out: Path, models: Path | None, tell: Callable[[str], None]
) -> None:
    """Until ``out`` holds ``compare.json`` and ``compare.webp``.

    Args:
        tell: takes each line of progress.

    Raises:
        CommandFailed: it could not be drawn; the message is the child's last line.
    """
    command = [sys.executable, "-m", module, "--out", str(out)]
    environment = {**os.environ, **({} if models is None else {"SYNFARM_RENDER_MODELS": str(models.resolve())})}
    code, last = run_child(command, environment, tell, plan.to_bytes())
    if code != 0:
        reason = last.removeprefix("compare: ") or f"it ended with code {code} and gave no reason"
        refused = ExitCode.REFUSED if code == 2 else ExitCode.FAILED
        raise CommandFailed(f"it could not be drawn: {reason}", refused)
