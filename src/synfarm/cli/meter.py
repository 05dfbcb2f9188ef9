"""One line that tells how far a long piece of work has come: alive in a terminal, every few seconds anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.text import Text

from synfarm.cli.screen import errors, say

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["Meter", "in_bytes", "meter"]

_EVERY = 5.0
"""Seconds between plain lines."""


class Meter(Protocol):
    """Called as often as there is something new; it decides what is worth showing."""

    def __call__(self, text: str) -> None: ...


class _Plain:
    def __init__(self) -> None:
        self._at = time.monotonic()
        self._console = errors()

    def __call__(self, text: str) -> None:
        if time.monotonic() - self._at >= _EVERY:
            self._at = time.monotonic()
            say(self._console, f"   {text}")


class _Live:
    def __init__(self, status: Status) -> None:
        self._status = status

    def __call__(self, text: str) -> None:
        self._status.update(Text(text))


@contextmanager
def meter(begin: str) -> Iterator[Meter]:
    """``begin`` is shown until there is news."""
    console = errors()
    if not console.is_terminal:
        yield _Plain()
        return
    # Texts, here and above: a status takes a string for markup, and a folder called '[/b]' would end the command.
    with console.status(Text(begin)) as status:
        yield _Live(status)


def in_bytes(count: int) -> str:
    """Bytes in decimal units, as storage is sold: ``10.7 MB``."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
