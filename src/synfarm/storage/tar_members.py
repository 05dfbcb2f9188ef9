"""Lists the files of a tar that a stranger may have made. Nothing is unpacked, nothing but headers is read.

``tarfile`` alone trusts a tar: it reads a header of any length at once, goes round for ever on a size below zero
(CVE-2025-8194), takes minutes over a long number in a header (CVE-2024-6232, both in Pythons that are still about),
believes what a sparse file says of its length, and takes a broken header for the end.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["TarDamaged", "TarMember", "tar_members"]

_MOST_OF_HEADERS = 256 * 1024
"""Bytes of all headers of one member: names are of 4 KiB at most, extended attributes of 64."""
_LONG_NUMBER = re.compile(rb"[0-9]{500}")
_FOLDER = "is a folder"
_MOST_KEPT = 100
"""Settings that hold for all members behind them."""
_BROKEN = (tarfile.TarError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What ``tarfile`` raises about headers that make no sense."""


class TarDamaged(ValueError):
    """It is no tar, or one that is cut off or lies; where its members are cannot be told. The message is a reason."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file in a tar, all of whose bytes lie in it."""

    name: str
    """As the tar has it: with anything in it, to be shown and never to be opened."""
    offset: int
    size: int


def tar_members(
    file: BinaryIO, left_out: Callable[[str, str], None] | None = None, *, folders: bool = False
) -> Iterator[TarMember]:
    """Plain files of an uncompressed tar in their order.

    Args:
        file: seekable; it may be read elsewhere between two members.
        left_out: told (name, why) of what is no file with bytes of its own.
        folders: tell those too, which many tars hold for nothing.

    Raises:
        TarDamaged: after the members before the damage.
        OSError: it cannot be read.
        Exception: whatever ``left_out`` raises.
    """
    for member, why in _told(file):
        if why is None:
            yield member
        elif left_out is not None and (folders or why != _FOLDER):
            left_out(member.name, why)


def _told(file: BinaryIO) -> Iterator[tuple[TarMember, str | None]]:
    """Each member, and why it is none of the tar's plain files."""
    reader = _Headers(file)
    try:
        with tarfile.open(fileobj=reader, mode="r:") as tar:  # type: ignore[call-overload]  # read, seek and tell do
            while True:
                reader.begin()
                # The first member was read when it was opened.
                member = tar.next()
                if member is None:
                    break
                tar.members = []  # they would be kept, a kilobyte each
                if member.size < 0 or tar.offset <= member.offset or len(tar.pax_headers) > _MOST_KEPT:
                    raise TarDamaged(f"a header at byte {member.offset} makes no sense")
                if (why := _not_plain(member)) is not None:
                    yield TarMember(member.name, member.offset_data, 0), why
                    continue
                if member.offset_data + member.size > reader.size:
                    raise TarDamaged(f"unexpected end: a member claims {member.size} bytes, and is not so long")
                yield TarMember(member.name, member.offset_data, member.size), None
            _check_end(reader, tar.offset)
    except _BROKEN as error:
        raise error if isinstance(error, TarDamaged) else TarDamaged(str(error) or type(error).__name__) from error


def _not_plain(member: tarfile.TarInfo) -> str | None:
    if member.isdir():
        return _FOLDER
    if member.issym() or member.islnk():
        return "is a link"
    if member.issparse():
        return "is a sparse file"
    return None if member.isreg() else "is no plain file"


def _check_end(reader: _Headers, at: int) -> None:
    """``tarfile`` takes a header that it cannot read for the end, and what lies behind it would be missed."""
    reader.begin()
    reader.seek(at)
    block = reader.read(tarfile.BLOCKSIZE)
    if block.strip(b"\0"):
        raise TarDamaged(f"the header at byte {at} is damaged")


class _Headers:
    """The file as ``tarfile`` sees it, which reads so many bytes of headers for a member, and within the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)
        self._at = self._read = 0

    def begin(self) -> None:
        """Another member."""
        self._read = 0

    def tell(self) -> int:
        return self._at

    def seek(self, at: int) -> int:
        if not 0 <= at <= self.size:
            raise tarfile.ReadError(f"unexpected end of data: a header points to byte {at}")
        self._at = at
        return at

    def read(self, count: int) -> bytes:
        self._read += count
        if count < 0 or self._read > _MOST_OF_HEADERS:
            raise tarfile.ReadError("the headers of a member are too long")
        self._file.seek(self._at)
        data = self._file.read(count)
        self._at += len(data)
        if len(data) > tarfile.BLOCKSIZE and _LONG_NUMBER.search(data):
            raise tarfile.ReadError("a header holds a number of hundreds of digits")
        return data
