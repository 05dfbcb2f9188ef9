"""Where commands write: results to stdout, everything else to stderr; plain text wherever there is no terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from rich.console import Console
from rich.text import Text

from synfarm.safe_text import escaped, visible

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

__all__ = ["errors", "open_closed_streams", "output", "reader_went_away", "say", "write_json"]

_PIPE_WIDTH = 200
"""Columns where no terminal tells its width: ids must not be folded in a log or a pipe."""


def reader_went_away(stream: TextIO) -> None:
    """Send what is still to come to nowhere, so that the interpreter's last flush does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def open_closed_streams() -> None:
    """What a shell has closed (``>&-``), Python has as None: it goes to nowhere, as by ``>/dev/null``."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # as long as the process


class _Console(Console):
    """Names, captions and reasons are other people's words: nothing in them is a command to the terminal.

    rich takes out five of the control characters, ESC not among them. All that it prints of words is text or a string,
    also what stands in tables and moves in a live view.
    """

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        if isinstance(renderable, Text) and (shown := visible(renderable.plain)) != renderable.plain:
            renderable = renderable.copy()
            renderable.plain = shown
        yield from super().render(renderable, options)

    def on_broken_pipe(self) -> NoReturn:
        """rich's own answer to a closed pipe is SystemExit: it would leave a farm's processes without a good end."""
        self.quiet = True
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # A bracket in other people's words is no markup, ':fire:' no emoji.
    return _Console(stderr=stderr, markup=False, emoji=False, width=None if stream.isatty() else _PIPE_WIDTH)


def output() -> Console:
    """For results. rich leaves colours out where stdout is no terminal, or NO_COLOR is set."""
    return _console(stderr=False)


def errors() -> Console:
    """For progress, notes and errors."""
    return _console(stderr=True)


def say(console: Console, text: str, style: str | None = None) -> None:
    """One line as it is: nothing in it is markup, and it is not folded."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def write_json(answer: BaseModel | Sequence[BaseModel] | Mapping[str, object]) -> None:
    """Contracts, or names and values, as one line of JSON on stdout, at once: a program may wait for it.

    Values are exact; what would act on a terminal is written as JSON's escape of it.
    """
    if isinstance(answer, Mapping):
        text = json.dumps(dict(answer), ensure_ascii=False)
    elif isinstance(answer, Sequence):
        text = f"[{','.join(item.model_dump_json() for item in answer)}]"
    else:
        text = answer.model_dump_json()
    sys.stdout.write(escaped(text) + "\n")
    sys.stdout.flush()
