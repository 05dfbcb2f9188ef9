"""``client.caption_files``: files of captions of one's own, which a job names in ``captions_from``."""

from __future__ import annotations

from collections.abc import Callable

from synfarm.contracts.caption_files import CaptionFile, CaptionFileList, CaptionPart
from synfarm.sdk import caption_file_calls as calls
from synfarm.sdk.caption_lines import CaptionSource, parts_of
from synfarm.sdk.connection import Connection

__all__ = ["CaptionFiles"]


class CaptionFiles:
    """``client.caption_files``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> CaptionFileList:
        """Names of your files, committed or not."""
        return self._connection.send(calls.list_files())

    def get(self, name: str) -> CaptionFile:
        """A committed file, or how much of it is there.

        Raises:
            NotFound: you have no file of that name.
        """
        return self._connection.send(calls.get_file(name))

    def put_part(self, name: str, part: int, lines: bytes) -> CaptionPart:
        """Upload one part: a :class:`GivenCaption` a line, as JSON. The same lines again are the same part."""
        return self._connection.send(calls.put_part(name, part, lines))

    def commit(self, name: str, parts: tuple[str, ...]) -> CaptionFile:
        """Make a file of its parts, named by their hashes in order; from then on it never changes."""
        return self._connection.send(calls.commit_file(name, parts))

    def upload(
        self,
        name: str,
        source: CaptionSource,
        *,
        jsonl: bool | None = None,
        told: Callable[[CaptionPart], None] | None = None,
    ) -> CaptionFile:
        """Upload a file, or captions one by one, and commit it; after a failure call it again with the same lines.

        Args:
            jsonl: whether lines are JSON, ``{"text": …, "concept": …}``; by default as the file's name
                ends and its first line tells.
            told: called with each part that is there.

        Raises:
            BadCaptionLine: a line is no caption; parts before it are there, and nothing is committed.
            Refused: a file of that name is committed already.
        """
        hashes: list[str] = []
        for number, lines in enumerate(parts_of(source, jsonl=jsonl)):
            part = self.put_part(name, number, lines)
            hashes.append(part.sha256)
            if told is not None:
                told(part)
        return self.commit(name, tuple(hashes))
