"""The requests about files of captions as data, for the two clients alike."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from synfarm.contracts.caption_files import CaptionFile, CaptionFileList, CaptionFileRequest, CaptionPart
from synfarm.contracts.origins import FileName
from synfarm.sdk.call import Call

__all__ = ["commit_file", "get_file", "list_files", "put_part"]

_FILE_NAME = TypeAdapter(FileName)


def list_files() -> Call[CaptionFileList]:
    return Call("GET", "/v1/caption-files", CaptionFileList.from_peer)


def _file(name: str) -> str:
    try:
        return f"/v1/caption-files/{_FILE_NAME.validate_python(name)}"
    except ValidationError:
        message = f"{name!r} is not a file's name: up to 80 letters, digits, '-', '_', and single dots between them"
        raise ValueError(message) from None


def get_file(name: str) -> Call[CaptionFile]:
    return Call("GET", _file(name), CaptionFile.from_peer)


def put_part(name: str, part: int, lines: bytes) -> Call[CaptionPart]:
    """``lines``: a ``GivenCaption`` a line."""
    headers = {"Content-Type": "application/x-ndjson"}
    return Call("PUT", f"{_file(name)}/parts/{int(part)}", CaptionPart.from_peer, body=lines, headers=headers)


def commit_file(name: str, parts: Sequence[str]) -> Call[CaptionFile]:
    body = CaptionFileRequest(parts=tuple(parts)).to_bytes()
    return Call("POST", f"{_file(name)}/commit", CaptionFile.from_peer, body=body)
