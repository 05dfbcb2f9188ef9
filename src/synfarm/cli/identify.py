"""Ids as users give them: whole, or `latest` for the newest one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from synfarm.sdk import Client

__all__ = ["LATEST", "JobArgument", "RunArgument", "checked_id", "job_id", "run_id"]

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, or 'latest'.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or 'latest'.")]

LATEST = "latest"


def checked_id(text: str, what: str) -> str:
    """A well-formed id of a ``job`` or ``run``.

    Raises:
        CommandFailed: it is malformed.
    """
    from synfarm.contracts.ids import check_ulid

    try:
        return check_ulid(text.strip().lower())
    except ValueError:
        raise CommandFailed(
            f"{text[:64]!r} is no {what} id (26 letters and digits): `synfarm {what}s list` shows them, "
            f"and 'latest' stands for the newest.",
            ExitCode.REFUSED,
        ) from None


def _none_yet(what: str) -> CommandFailed:
    return CommandFailed(f"there is no {what} yet that you may see.", ExitCode.NOT_FOUND)


def job_id(client: Client, text: str) -> str:
    """A well-formed job id.

    Raises:
        CommandFailed: it is malformed; or `latest`, and there is none.
    """
    if text != LATEST:
        return checked_id(text, "job")
    page = client.jobs.list(limit=1)
    if not page.items:
        raise _none_yet("job")
    return page.items[0].job


def run_id(client: Client, text: str) -> str:
    """A well-formed run id.

    Raises:
        CommandFailed: it is malformed; or `latest`, and there is none.
    """
    if text != LATEST:
        return checked_id(text, "run")
    page = client.runs.list(limit=1)
    if not page.items:
        raise _none_yet("run")
    return page.items[0].run
