"""A part of a service as a process of its own: it loads torch, which this command must not."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence

__all__ = ["run_child"]


def run_child(
    command: Sequence[str], environment: Mapping[str, str], tell: Callable[[str], None], asked: bytes = b""
) -> tuple[int, str]:
    """Its exit code, and the last line that it wrote to stderr: the reason, if it failed.

    Args:
        tell: takes each line of its stdout.
        asked: what it reads from stdin.
    """
    # stderr goes to a file: libraries write much to it, of which the last line alone is wanted, and only of a failure.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(asked)
        given.seek(0)
        with subprocess.Popen(
            command, stdin=given, stdout=subprocess.PIPE, stderr=said, env=environment, text=True
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
    return code, lines[-1] if lines else ""
