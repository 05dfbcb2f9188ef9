"""Names of what is uploaded: told, or the file's own; and whether a text can be one."""

from __future__ import annotations

import re
from pathlib import Path

from synfarm.cli.exits import CommandFailed, ExitCode

__all__ = ["name_of_a_file", "name_of_a_set", "upload_name"]

_NAME = "letters, digits, '-', '_', and single dots between them"


def upload_name(file: Path, name: str | None) -> str:
    """``name``, or that of the file without its ending.

    Raises:
        CommandFailed: it cannot be a name, or stdin has none.
    """
    if name is None and str(file) == "-":
        raise CommandFailed("--name: a file that comes by stdin needs one.", ExitCode.REFUSED)
    # Of a file's own name the signs that a name may not hold become dashes.
    wanted = name if name is not None else re.sub(r"[^A-Za-z0-9._-]+|\.{2,}", "-", file.stem).strip("-._")[:80]
    if not _may_be_a_name(wanted):
        if name is None:
            raise CommandFailed(f"no name can be made of {file.name!r}: give one by --name.", ExitCode.REFUSED)
        raise CommandFailed(f"--name: {_cannot(wanted)}", ExitCode.REFUSED)
    return wanted


def name_of_a_file(name: str) -> str:
    """The name itself.

    Raises:
        CommandFailed: no file that was uploaded can have it.
    """
    if not _may_be_a_name(name):
        raise CommandFailed(_cannot(name), ExitCode.REFUSED)
    return name


def name_of_a_set(name: str) -> str:
    """The name itself, which then stands in an address.

    Raises:
        CommandFailed: no set can have it, shipped or own.
    """
    if not _may_be_a_name(name):
        raise CommandFailed(
            f"There is no concept set {name[:80]!r}. `synfarm concepts list` lists them.", ExitCode.NOT_FOUND
        )
    return name


def _cannot(name: str) -> str:
    return f"{name[:100]!r} cannot be a name; use up to 80 {_NAME}."


def _may_be_a_name(text: str) -> bool:
    from pydantic import TypeAdapter, ValidationError

    from synfarm.contracts.origins import FileName

    try:
        TypeAdapter(FileName).validate_python(text)
    except ValidationError:
        return False
    return True
