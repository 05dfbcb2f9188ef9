"""Runs the process that draws a comparison: it loads torch, which this command must not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

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
    # stderr goes to a file: libraries write much to it, of which the last line alone is wanted, and only of a failure.
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
        asked.write(plan.to_bytes())
        asked.seek(0)
        with subprocess.Popen(
            command, stdin=asked, stdout=subprocess.PIPE, stderr=said, env=environment, text=True
        ) as child:
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    tell(line.rstrip("\n"))
                code = child.wait()
            finally:
                child.kill()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if code != 0:
        reason = lines[-1].removeprefix("compare: ") if lines else f"it ended with code {code} and gave no reason"
        refused = ExitCode.REFUSED if code == 2 else ExitCode.FAILED
        raise CommandFailed(f"it could not be drawn: {reason}", refused)
