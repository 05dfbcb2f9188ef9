"""What a folder remembers of its demos, so that the next start goes on instead of doing all again."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pydantic import Field, JsonValue, ValidationError

from synfarm.cli.demo.summary import DemoSummary
from synfarm.contracts.base import Contract, Moment, utc_now
from synfarm.contracts.ids import JobId, RunId

__all__ = ["Memory", "MemoryFile"]


class Memory(Contract):
    """One demo: under way, or finished with its summary."""

    options: dict[str, JsonValue]
    """As its user gave them."""
    idempotency_key: str
    """Of the job's submission: sent again, it finds the same job."""
    begun_at: Moment
    job: JobId | None = None
    run: RunId | None = None
    summary: DemoSummary | None = None
    finished_at: Moment | None = None


class _Book(Contract):
    """``demo.json``: the demos of a folder by fingerprint, the last begun one last."""

    demos: dict[str, Memory] = Field(default_factory=dict)


class MemoryFile:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "demo.json"

    def find(self, fingerprint: str) -> Memory | None:
        return self._read().demos.get(fingerprint)

    def last(self) -> Memory | None:
        """The demo that was begun last in this folder."""
        demos = list(self._read().demos.values())
        return demos[-1] if demos else None

    def recall(self, fingerprint: str, options: dict[str, JsonValue]) -> Memory:
        """What is known of the demo with this fingerprint; a new memory, already written, if nothing is."""
        found = self.find(fingerprint)
        if found is None:
            found = Memory(options=options, idempotency_key=secrets.token_hex(16), begun_at=utc_now())
            self.keep(fingerprint, found)
        return found

    def keep(self, fingerprint: str, memory: Memory) -> None:
        demos = dict(self._read().demos)
        # A dict keeps a key's first place: the last begun demo is to be the last one.
        if fingerprint not in demos or demos[fingerprint].begun_at != memory.begun_at:
            demos.pop(fingerprint, None)
        self._write(_Book(demos={**demos, fingerprint: memory}))

    def forget(self, fingerprint: str) -> None:
        """The next demo with these options begins anew."""
        self._write(_Book(demos={key: value for key, value in self._read().demos.items() if key != fingerprint}))

    def _read(self) -> _Book:
        try:
            return _Book.from_bytes(self.path.read_bytes())
        except (FileNotFoundError, ValidationError):
            # A damaged memory costs a second job, and loses nothing that is in the store.
            return _Book()

    def _write(self, book: _Book) -> None:
        new = self.path.with_suffix(".new")
        new.write_bytes(book.to_bytes())
        os.replace(new, self.path)
