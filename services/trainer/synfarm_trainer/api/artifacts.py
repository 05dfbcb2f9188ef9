"""What a run exports, over HTTP: the list, and downloads that can be taken up again where they broke off."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from synfarm.contracts import layout
from synfarm.contracts.ids import RunId
from synfarm.contracts.pages import Artifact, ArtifactList
from synfarm.contracts.problems import ProblemError
from synfarm.storage.protocol import ObjectInfo, ObjectStore
from synfarm.web import CurrentPrincipal
from synfarm_trainer.api.ranges import NoSuchRange, range_of
from synfarm_trainer.api.records import RunRecords
from synfarm_trainer.api.seen import seen_run

__all__ = ["artifacts_router"]

_CHUNK = 4 << 20
_TYPES = {".jsonl": "application/jsonl", ".md": "text/markdown", ".safetensors": "application/octet-stream"}
"""Of names that the machine's own table may not know."""
RANGE = "One range, for example `bytes=1048576-`; the answer is then 206."


def artifacts_router(records: RunRecords) -> APIRouter:
    """The two routes. Any may end in StoreUnavailable."""
    router = APIRouter(prefix="/v1/runs", tags=["runs"])
    store = records.store

    @router.get("/{run}/artifacts", summary="List the files that a run exports")
    def artifacts(run: RunId, who: CurrentPrincipal) -> ArtifactList:
        """They are written when the run completes."""
        seen_run(records, run, who)
        found = ((_name(run, info.key), info) for info in store.list(layout.export_prefix(run)))
        items = (
            Artifact(name=name, size=info.size, media_type=media_type(name), modified_at=info.modified)
            for name, info in found
            if name is not None
        )
        return ArtifactList(items=tuple(items))

    @router.get(
        "/{run}/artifacts/{name}",
        summary="Download one of them",
        response_class=Response,
        responses={
            200: {"description": "The file.", "content": {"application/octet-stream": {}}},
            206: {"description": "The range of it that was asked for.", "content": {"application/octet-stream": {}}},
            304: {"description": "`If-None-Match` names what the file still is."},
            416: {},
        },
    )
    def artifact(
        run: RunId,
        name: str,
        who: CurrentPrincipal,
        byte_range: Annotated[str | None, Header(alias="Range", description=RANGE)] = None,
        if_range: Annotated[str | None, Header(alias="If-Range")] = None,
        if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
    ) -> Response:
        """Streamed, with an `ETag`: `Range` goes on where a download broke off, `If-Range` only if it is still the
        same file."""
        seen_run(records, run, who)
        info = _found(store, run, name)
        tag = f'"{info.etag}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        if if_none_match is not None and tag in {part.strip() for part in if_none_match.split(",")}:
            return Response(status_code=304, headers=headers)
        try:
            part = range_of(byte_range, info.size) if if_range in {None, tag} else None
        except NoSuchRange:
            detail, hint = f"The file has {info.size} bytes.", "Ask for a range that begins before its end."
            raise ProblemError(416, "no_such_range", detail, field="Range", hint=hint) from None
        first, last = part or (0, info.size - 1)
        headers |= {
            "Content-Length": str(last - first + 1),
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        }
        if part is not None:
            headers["Content-Range"] = f"bytes {first}-{last}/{info.size}"

        def body() -> Iterator[bytes]:
            for offset in range(first, last + 1, _CHUNK):
                yield store.get_range(info.key, offset, min(_CHUNK, last + 1 - offset))

        status = 200 if part is None else 206
        return StreamingResponse(body(), status, headers=headers, media_type=media_type(name))

    return router


def media_type(name: str) -> str:
    """By the name's ending; bytes of which nothing is known are ``application/octet-stream``."""
    ending = name[name.rfind(".") :] if "." in name else ""
    return _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _name(run: str, key: str) -> str | None:
    """The file's name; None for a key that no download can name."""
    name = key.removeprefix(layout.export_prefix(run))
    try:
        return name if layout.export_file(run, name) == key else None
    except ValueError:
        return None


def _found(store: ObjectStore, run: str, name: str) -> ObjectInfo:
    try:
        info = store.head(layout.export_file(run, name))
    except ValueError:
        info = None
    if info is None:
        hint = f"GET /v1/runs/{run}/artifacts lists them; they are written when a run completes."
        raise ProblemError(404, "artifact_not_found", "This run has no such artifact.", field="name", hint=hint)
    return info
