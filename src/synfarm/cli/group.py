"""The root of all commands: one place where every command's errors become a sentence and an exit code."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from synfarm.cli.exits import CommandFailed, ExitCode, explain
from synfarm.cli.screen import errors, reader_went_away, say

__all__ = ["CommandGroup"]


class CommandGroup(TyperGroup):
    """Ends each command in good order; an error that nobody foresaw keeps its traceback, for it is a bug."""

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


def _tell(failure: CommandFailed) -> None:
    if str(failure):
        say(errors(), f"synfarm: {failure}", "bold red" if failure.code != ExitCode.INTERRUPTED else "yellow")
