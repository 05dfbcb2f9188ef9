"""The folder of a demo: what it remembers, its reports, and what may be removed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from synfarm.cli.demo.memory import Memory, MemoryFile
from synfarm.cli.demo.options import BadOption, DemoOptions
from synfarm.cli.demo.summary import DemoSummary
from synfarm.contracts.base import utc_now
from synfarm.local.folder import StackFolder
from synfarm.whole_file import write_whole

__all__ = ["DemoPlace"]


class DemoPlace:
    """The folder as one demo, known by its options' fingerprint, sees it."""

    def __init__(self, options: DemoOptions) -> None:
        """
        Raises:
            CommandFailed: the concepts cannot be read or are not valid.
        """
        self.folder = options.data_dir
        self._options, self._fingerprint = options.told(), options.fingerprint()
        self._memory = MemoryFile(options.data_dir)

    @property
    def report(self) -> Path:
        """Of the demo that was run or shown last."""
        return self.folder / "report.html"

    def _report_of(self, job: str) -> Path:
        return self.folder / "reports" / f"{job}.html"

    def find(self) -> Memory | None:
        return self._memory.find(self._fingerprint)

    def recall(self) -> Memory:
        return self._memory.recall(self._fingerprint, self._options)

    def keep(self, memory: Memory) -> None:
        self._memory.keep(self._fingerprint, memory)

    def forget(self) -> None:
        self._memory.forget(self._fingerprint)

    def begin(self) -> list[str]:
        """Claim the folder for a demo, before anything is started in it; what its user should know.

        Raises:
            FolderInUse: a stack runs in it, or it holds something else.
            OSError: it cannot be written.
        """
        notes: list[str] = []
        with StackFolder(self.folder):
            before, mine = self._memory.last(), self.find()
            if mine is not None and mine.summary is None:
                notes.append(f"going on with the demo that was interrupted (begun {_when(mine)})")
            elif mine is not None:
                notes.append("this demo is finished, but its report or its data is gone: made again where needed")
            elif before is not None:
                notes.append(
                    f"{self.folder} holds a demo with other options ({_difference(before.options, self._options)}): "
                    "what it made stays, a new job and run are made beside it"
                )
            self.recall()
        return notes

    def finish(self, summary: DemoSummary, page: bytes | None) -> DemoSummary:
        """Write the report and remember the demo as finished."""
        if page is not None:
            kept = self._report_of(summary.job)
            kept.parent.mkdir(exist_ok=True)
            write_whole(kept, page)
            write_whole(self.report, page)
            summary = summary.model_copy(update={"report": self.report.resolve()})
        self.keep(self.recall().model_copy(update={"summary": summary, "finished_at": utc_now()}))
        return summary

    def show_again(self, summary: DemoSummary) -> DemoSummary | None:
        """The summary of the finished demo with its report in its place; None if its data or its report is gone."""
        kept = self._report_of(summary.job)
        if not (self.folder / "s3").is_dir() or not kept.exists():
            return None
        write_whole(self.report, kept.read_bytes())
        return summary.model_copy(update={"report": self.report.resolve(), "folder": self.folder.resolve()})

    def clear(self) -> None:
        """Remove an earlier demo, and nothing else.

        Raises:
            FolderInUse: a stack runs in it, or it holds something else.
            BadOption: it is the folder of a farm that no demo has used.
        """
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return
        with StackFolder(self.folder):
            if (self.folder / "s3").exists() and not self._memory.path.exists():
                raise BadOption(
                    f"--fresh: {self.folder} holds a farm's jobs, and no demo: remove it yourself if you mean it."
                )
            shutil.rmtree(self.folder)


def _when(memory: Memory) -> str:
    return f"{memory.begun_at.astimezone():%Y-%m-%d %H:%M}"


def _difference(before: Mapping[str, JsonValue], now: Mapping[str, JsonValue]) -> str:
    def told(value: JsonValue) -> str:
        return "the preset's" if value is None else str(value)

    changed = [
        f"{name} {told(before.get(name))} instead of {told(now[name])}" for name in now if before.get(name) != now[name]
    ]
    return ", ".join(changed) or "another concept list"
