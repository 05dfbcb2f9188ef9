"""Routes of files of captions: uploaded in parts, committed once, named by jobs in ``captions_from``."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request

from synfarm.contracts.caption_files import (
    MOST_PARTS,
    CaptionFile,
    CaptionFileList,
    CaptionFileRequest,
    CaptionPart,
)
from synfarm.contracts.origins import FileName
from synfarm.contracts.problems import Problem, ProblemError
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.services import Services
from synfarm_caption_api.caption_files import CaptionFiles

__all__ = ["router"]

router = APIRouter(prefix="/v1/caption-files", tags=["caption files"])

NamePath = Annotated[FileName, Path(description="Your name for the file: letters, digits, dot, dash, underscore.")]
_NDJSON = "application/x-ndjson"
_KINDS = {
    "text/plain": "A red kettle on a stove.\nTwo grey herons in a pond.\n",
    _NDJSON: '{"text": "A red kettle on a stove.", "concept": "kettle"}\n',
}


@router.get("", summary="List your files of captions")
def list_files(who: CurrentPrincipal, services: Services) -> CaptionFileList:
    """Names of your files, committed or not; at most a thousand."""
    return CaptionFileList(items=CaptionFiles(services.store).names(who.owner))


@router.get("/{name}", summary="See how far a file of captions is")
def see_file(name: NamePath, who: CurrentPrincipal, services: Services) -> CaptionFile:
    """A committed file, or how many parts are there before the first that is missing: go on from that one."""
    return CaptionFiles(services.store).view(who.owner, name)


@router.put(
    "/{name}/parts/{part}",
    summary="Upload one part of a file of captions",
    responses={409: {"model": Problem}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": {"type": "string"}, "example": text} for kind, text in _KINDS.items()},
        }
    },
)
async def put_part(
    name: NamePath,
    part: Annotated[int, Path(ge=0, lt=MOST_PARTS, description="Its place, from 0.")],
    request: Request,
    who: CurrentPrincipal,
    services: Services,
    content_type: Annotated[str, Header(description="text/plain or application/x-ndjson.")] = "text/plain",
) -> CaptionPart:
    """One caption a line, UTF-8; every part but the last has 10,000 lines. Keep the hash for the commit.

    The same lines again are the same part; corrected lines are another one, and the commit says which counts.
    """
    kind = content_type.partition(";")[0].strip().casefold()
    if kind not in _KINDS:
        detail = f"The body is {kind[:80]!r}."
        hint = f"Send it as {' or '.join(_KINDS)}."
        raise ProblemError(422, "unsupported_media_type", detail, field="Content-Type", hint=hint)
    data = await request.body()
    files = CaptionFiles(services.store)
    return await asyncio.to_thread(files.put, who.owner, name, part, data, jsonl=kind == _NDJSON)


@router.post("/{name}/commit", summary="Make a file of its parts", responses={409: {"model": Problem}})
def commit_file(name: NamePath, body: CaptionFileRequest, who: CurrentPrincipal, services: Services) -> CaptionFile:
    """Name the parts by their hashes, in order. From then on the file never changes, and jobs can name it."""
    return CaptionFiles(services.store).commit(who.owner, name, body.parts)
