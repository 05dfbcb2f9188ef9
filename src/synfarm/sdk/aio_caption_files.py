"""``client.caption_files`` of the asynchronous client: files of captions of one's own, for ``captions_from``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from synfarm.contracts.caption_files import CaptionFile, CaptionFileList, CaptionPart
from synfarm.sdk import caption_file_calls as calls
from synfarm.sdk.aio_connection import AsyncConnection
from synfarm.sdk.caption_lines import CaptionSource, parts_of

__all__ = ["AsyncCaptionFiles"]


class AsyncCaptionFiles:
    """``client.caption_files``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list(self) -> CaptionFileList:
        """Names of your files, committed or not."""
        return await self._connection.send(calls.list_files())

    async def get(self, name: str) -> CaptionFile:
        """A committed file, or how much of it is there.

        Raises:
            NotFound: you have no file of that name.
        """
        return await self._connection.send(calls.get_file(name))

    async def put_part(self, name: str, part: int, lines: bytes) -> CaptionPart:
        """Upload one part: a :class:`GivenCaption` a line, as JSON. The same lines again are the same part."""
        return await self._connection.send(calls.put_part(name, part, lines))

    async def commit(self, name: str, parts: tuple[str, ...]) -> CaptionFile:
        """Make a file of its parts, named by their hashes in order; from then on it never changes."""
        return await self._connection.send(calls.commit_file(name, parts))

    async def upload(
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
        parts = parts_of(source, jsonl=jsonl)
        # In a thread: a part of a file is some megabytes to read and to check.
        while (lines := await asyncio.to_thread(next, parts, None)) is not None:
            part = await self.put_part(name, len(hashes), lines)
            hashes.append(part.sha256)
            if told is not None:
                told(part)
        return await self.commit(name, tuple(hashes))
