"""The name under which a file is uploaded: told, or the file's own."""

from __future__ import annotations

import re
from pathlib import Path

from synfarm.cli.exits import CommandFailed, ExitCode

__all__ = ["upload_name"]

_NAME = "letters, digits, '-', '_', and single dots between them"


def upload_name(file: Path, name: str | None) -> str:
    """``name``, or that of the file without its ending.

    Raises:
        CommandFailed: it cannot be a name, or stdin has none.
    """
    from pydantic import TypeAdapter, ValidationError

    from synfarm.contracts.origins import FileName

    if name is None and str(file) == "-":
        raise CommandFailed("--name: a file that comes by stdin needs one.", ExitCode.REFUSED)
    # Of a file's own name the signs that a name may not hold become dashes.
    wanted = name if name is not None else re.sub(r"[^A-Za-z0-9._-]+|\.{2,}", "-", file.stem).strip("-._")[:80]
    try:
        return TypeAdapter(FileName).validate_python(wanted)
    except ValidationError:
        raise CommandFailed(
            f"--name: {wanted[:100]!r} cannot be a name; use up to 80 {_NAME}.", ExitCode.REFUSED
        ) from None
