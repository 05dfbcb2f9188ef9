"""`synfarm logs`: the last lines of every process of the farm, and on request what is still to come."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import in_words, nearby
from synfarm.cli.options import DataDir, Json
from synfarm.safe_text import escaped, visible

__all__ = ["logs"]

_PAUSE = 0.2


class _Tail:
    """What is new in one log file since the last look; a file that was made anew is read from its start."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._path, self._offset, self._rest = path, 0, b""

    def last(self, count: int) -> list[str]:
        """The last lines, and from now on only what comes after them."""
        with self._path.open("rb") as file:
            lines = deque(file, maxlen=count)
            self._offset = file.tell()
        return [line.decode(errors="replace").rstrip("\n") for line in lines]

    def news(self) -> list[str]:
        """Whole lines written since."""
        try:
            size = self._path.stat().st_size
            if size == self._offset:
                return []
            with self._path.open("rb") as file:
                file.seek(self._offset if size > self._offset else 0)
                data = self._rest + file.read()
                self._offset = file.tell()
        except FileNotFoundError:
            return []
        *lines, self._rest = data.split(b"\n")
        return [line.decode(errors="replace") for line in lines]


class _Writer:
    """Lines with the name of their process, or as JSON."""

    def __init__(self, names: list[str], *, as_json: bool) -> None:
        self._width = max(map(len, names), default=0) if len(names) > 1 else 0
        self._as_json = as_json

    def write(self, name: str, lines: list[str]) -> None:
        for line in lines:
            if self._as_json:
                text = escaped(json.dumps({"process": name, "line": line}, ensure_ascii=False))
            else:
                text = visible(f"{name:<{self._width}} | {line}" if self._width else line)
            sys.stdout.write(text + "\n")
        if lines:
            sys.stdout.flush()


def _folder(data_dir: Path | None) -> Path:
    """The logs of the stack that runs, else of the one that ran last."""
    looked = nearby(data_dir)
    with_logs = [found for found in looked if found.folder.logs.is_dir()]
    if not with_logs:
        told = ", ".join(f"{found.folder.root} ({in_words(found)})" for found in looked)
        raise CommandFailed(f"no logs: looked in {told}.", ExitCode.UNREACHABLE)
    return max(with_logs, key=lambda found: (found.lives, found.folder.logs.stat().st_mtime)).folder.logs


def logs(
    service: Annotated[str | None, typer.Argument(metavar="SERVICE", help="One process alone.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many last lines of each process.")] = 20,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """The last lines that the farm's processes have logged; of a stopped or killed farm too."""
    folder = _folder(data_dir)
    paths = sorted(folder.glob("*.log"))
    if service is not None:
        known = [path.stem for path in paths]
        if service not in known:
            raise CommandFailed(
                f"no log of {service!r} in {folder}; there are: {', '.join(known) or 'none'}.", ExitCode.NOT_FOUND
            )
        paths = [folder / f"{service}.log"]
    tails = [_Tail(path) for path in paths]
    writer = _Writer([tail.name for tail in tails], as_json=as_json)
    for tail in tails:
        writer.write(tail.name, tail.last(lines))
    while follow:
        time.sleep(_PAUSE)
        for tail in tails:
            writer.write(tail.name, tail.news())
