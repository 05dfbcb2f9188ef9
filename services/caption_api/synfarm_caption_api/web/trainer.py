"""The trainer's API as the page needs it: the browser talks to this server alone, which asks the trainer for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from synfarm.contracts.problems import Problem, ProblemError
from synfarm.contracts.runs import RunRequest, RunSpec, StepMetrics
from synfarm.contracts.views import RunPage, RunView
from synfarm.trust import trust_for

__all__ = ["ArtifactFile", "ArtifactRow", "CheckpointRow", "MetricsChunk", "Trainer"]

_TIMEOUT = httpx.Timeout(15.0, connect=2.0)
_ANSWER = TypeVar("_ANSWER", bound=BaseModel)


class _Answer(BaseModel):
    """Parts of an answer that the page reads; whatever a newer trainer adds is left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class MetricsChunk(_Answer):
    items: tuple[StepMetrics, ...]
    next_since: int


class ArtifactRow(_Answer):
    name: str
    size: int


class CheckpointRow(_Answer):
    step: int
    attempt: int
    bytes: int
    whole: bool
    committed_at: datetime


class _Checkpoints(_Answer):
    items: tuple[CheckpointRow, ...]


class _Artifacts(_Answer):
    items: tuple[ArtifactRow, ...]


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """An exported file on its way."""

    media_type: str
    length: str | None
    body: AsyncIterator[bytes]


class Trainer:
    """Asks the trainer with the visitor's own key. One pool of connections; every method raises ProblemError."""

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """
        Args:
            url: ``http://host:port`` of the trainer.
            transport: in tests, the trainer's application itself.
        """
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=_TIMEOUT, transport=transport, verify=trust_for(self.url)
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def page(self, authorization: str | None, cursor: str | None, limit: int) -> RunPage:
        params = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
        return await self._get(RunPage, "/v1/runs", authorization, params)

    async def run(self, authorization: str | None, run: str) -> RunView:
        return await self._get(RunView, f"/v1/runs/{run}", authorization)

    async def spec(self, authorization: str | None, run: str) -> RunSpec:
        return await self._get(RunSpec, f"/v1/runs/{run}/spec", authorization)

    async def metrics(self, authorization: str | None, run: str, since: int, limit: int) -> MetricsChunk:
        params = {"since": str(since), "limit": str(limit)}
        return await self._get(MetricsChunk, f"/v1/runs/{run}/metrics", authorization, params)

    async def checkpoints(self, authorization: str | None, run: str) -> tuple[CheckpointRow, ...]:
        return (await self._get(_Checkpoints, f"/v1/runs/{run}/checkpoints", authorization)).items

    async def artifacts(self, authorization: str | None, run: str) -> tuple[ArtifactRow, ...]:
        return (await self._get(_Artifacts, f"/v1/runs/{run}/artifacts", authorization)).items

    async def artifact(self, authorization: str | None, run: str, name: str) -> ArtifactFile:
        """An exported file; its bytes are not held here."""
        request = self._http.build_request("GET", f"/v1/runs/{run}/artifacts/{name}", headers=_headers(authorization))
        response = await self._send(request, stream=True)
        if response.status_code >= 400:
            await response.aread()
            await response.aclose()
            raise _refusal(response)

        async def body() -> AsyncIterator[bytes]:
            try:
                async for chunk in response.aiter_bytes():
                    yield chunk
            finally:
                await response.aclose()

        kind = response.headers.get("content-type", "application/octet-stream")
        return ArtifactFile(kind, response.headers.get("content-length"), body())

    async def start(self, authorization: str | None, body: RunRequest, idempotency_key: str) -> RunView:
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        request = self._http.build_request(
            "POST", "/v1/runs", content=body.to_bytes(), headers={**_headers(authorization), **headers}
        )
        return _read(RunView, await self._send(request))

    async def signal(self, authorization: str | None, run: str, signal: str) -> RunView:
        """``stop`` or ``resume`` the run."""
        request = self._http.build_request("POST", f"/v1/runs/{run}/{signal}", headers=_headers(authorization))
        return _read(RunView, await self._send(request))

    async def _get(
        self, kind: type[_ANSWER], path: str, authorization: str | None, params: dict[str, str] | None = None
    ) -> _ANSWER:
        request = self._http.build_request("GET", path, params=params, headers=_headers(authorization))
        return _read(kind, await self._send(request))

    async def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            return await self._http.send(request, stream=stream)
        except httpx.TransportError as error:
            raise ProblemError(
                503,
                "trainer_away",
                f"The trainer at {self.url} does not answer ({type(error).__name__}).",
                hint="Jobs go on without it. Start the trainer, or correct SYNFARM_CAPTION_API_TRAINER_URL.",
            ) from error


def _headers(authorization: str | None) -> dict[str, str]:
    return {"Authorization": authorization} if authorization else {}


def _read(kind: type[_ANSWER], response: httpx.Response) -> _ANSWER:
    if response.status_code >= 400:
        raise _refusal(response)
    try:
        return kind.model_validate_json(response.content, extra="ignore")
    except ValidationError as error:
        raise _foreign(response) from error


def _refusal(response: httpx.Response) -> ProblemError:
    """The trainer's problem as this server's own."""
    if response.status_code == 401:
        # Not the visitor's fault, and signing in again would not help.
        return ProblemError(
            502,
            "trainer_refused_key",
            "The trainer does not know the key that this server knows.",
            hint="Give both services the same SYNFARM_AUTH_KEYS_FILE.",
        )
    try:
        problem = Problem.from_peer(response.content)
    except ValidationError:
        return _foreign(response)
    return ProblemError(problem.status, problem.code, problem.detail, field=problem.field, hint=problem.hint)


def _foreign(response: httpx.Response) -> ProblemError:
    return ProblemError(
        502,
        "trainer_not_understood",
        f"{response.request.url} answered {response.status_code} with something that is no answer of a trainer.",
        hint="Check SYNFARM_CAPTION_API_TRAINER_URL, and that both services have the same version.",
    )
