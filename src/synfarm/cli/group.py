"""The root of all commands: one place where every command's errors become a sentence and an exit code."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from synfarm.cli.exits import CommandFailed, ExitCode, explain
from synfarm.cli.screen import errors, reader_went_away, say

__all__ = ["CommandGroup"]


class CommandGroup(TyperGroup):
    """Ends each command in good order; an error that nobody foresaw keeps its traceback, for it is a bug."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _flow(command)
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            reader_went_away(sys.stdout)
            raise typer.Exit(ExitCode.READER_GONE) from None
        except KeyboardInterrupt:
            _tell(CommandFailed("interrupted.", ExitCode.INTERRUPTED))
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except typer.Exit:
            raise
        except Exception as error:
            failure = explain(error)
            if failure is None:
                raise
            _tell(failure)
            raise typer.Exit(failure.code) from None
        return result


def _flow(command: Any) -> None:
    """Let paragraphs of the help flow: the lines of a docstring end where the code's do, not where the screen does."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(
        paragraph if re.search(r"^(\s|- |\x08)", paragraph, re.MULTILINE) else paragraph.replace("\n", " ")
        for paragraph in paragraphs
    )
    for inner in getattr(command, "commands", {}).values():
        _flow(inner)


def _tell(failure: CommandFailed) -> None:
    if str(failure):
        say(errors(), f"synfarm: {failure}", "bold red" if failure.code != ExitCode.INTERRUPTED else "yellow")
