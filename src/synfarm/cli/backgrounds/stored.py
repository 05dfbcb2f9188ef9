"""The file of settings by concept: read, checked and written whole, in the form that ``backgrounds`` of a job takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from synfarm.cli.backgrounds.place import refused
from synfarm.cli.concept_source import MAX_BYTES
from synfarm.whole_file import write_whole

__all__ = ["BackgroundFile"]

_SHARE = 10
"""Of the time, at most one part in so many goes into writing: a file of 10,000 concepts takes half a second."""


class BackgroundFile:
    """``{concept: [setting, ...]}``. What is in it already stays; a concept without settings is not in it."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Raises:
            CommandFailed: there is something else under that name.
        """
        self.path, self._clock = path, clock
        self._lists = _read(path)
        self._names = {name.casefold(): name for name in self._lists}
        self._next = 0.0
        self.unsaved = False
        """Whether something was added that is not in the file."""
        self.grown = False
        """Whether anything new is in the file; not what is still to be written, or could not be."""

    def of(self, concept: str) -> tuple[str, ...]:
        """A concept's settings; the case of its name does not matter."""
        return tuple(self._lists.get(self._names.get(concept.casefold(), concept), ()))

    def add(self, concept: str, settings: Sequence[str]) -> None:
        """Add settings and write the file; a large one is written now and then only, and by :meth:`save`.

        Raises:
            OSError: it cannot be written.
        """
        if settings:
            name = self._names.setdefault(concept.casefold(), concept)
            self._lists.setdefault(name, []).extend(settings)
            self.unsaved = True
        if self._clock() >= self._next:
            self.save()

    def save(self) -> None:
        """Write what is not written yet.

        Raises:
            OSError: it cannot be written.
        """
        if not self.unsaved:
            return
        began = self._clock()
        write_whole(self.path, (json.dumps(self._lists, ensure_ascii=False, indent=1) + "\n").encode())
        ended = self._clock()
        self.unsaved, self.grown, self._next = False, True, ended + _SHARE * (ended - began)


def _read(path: Path) -> dict[str, list[str]]:
    from pydantic import TypeAdapter, ValidationError

    from synfarm.contracts.concepts import Phrase

    if not path.exists():
        return {}
    try:
        with path.open("rb") as file:
            data = file.read(16 * MAX_BYTES + 1)
    except OSError as error:
        raise refused(path, f"cannot be read: {error.strerror or error}") from error
    if len(data) > 16 * MAX_BYTES:
        raise refused(path, f"is larger than {16 * MAX_BYTES >> 20} MB: is it another file?")
    try:
        return TypeAdapter(dict[Phrase, list[Phrase]]).validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        fault = f"{place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
        raise refused(
            path, f"holds something else than {{concept: [setting, ...]}} ({fault}), and is left as it is; name another"
        ) from error
