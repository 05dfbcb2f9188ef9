"""A view of memory as a file, for clients that read bodies in pieces."""

from __future__ import annotations

import io

__all__ = ["reader_of"]


def reader_of(view: memoryview) -> io.BufferedReader:
    """A file of a view of bytes: each read copies its piece and nothing else, where ``io.BytesIO`` copies the whole."""
    return io.BufferedReader(_View(view))


class _View(io.RawIOBase):
    def __init__(self, view: memoryview) -> None:
        self._view, self._at = view, 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        piece = self._view[self._at : self._at + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
