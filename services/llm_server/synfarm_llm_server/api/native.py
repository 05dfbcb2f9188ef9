"""The native routes of Text Generation Inference: ``/``, ``/generate``, ``/generate_stream``."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from synfarm_llm_server.api.errors import TgiError, invalid
from synfarm_llm_server.api.schemas import GenerateRequest
from synfarm_llm_server.api.validation import CheckedRequest, check
from synfarm_llm_server.engine.request import Token, TokenEvent
from synfarm_llm_server.service import GenerationService
from synfarm_llm_server.settings import LlmSettings

__all__ = ["native_routes", "server_event", "unless_disconnected"]

T = TypeVar("T")


def server_event(payload: Any) -> bytes:
    """One Server-Sent Event."""
    return b"data:" + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of ``work``, or None (and ``work`` cancelled) when the client hangs up first."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _token(token: Token) -> dict[str, Any]:
    return {"id": token.id, "text": token.text, "logprob": token.logprob, "special": token.special}


def _sequence(request: CheckedRequest, events: list[TokenEvent], seed: int) -> dict[str, Any]:
    finish = events[-1].finish
    if finish is None:
        raise RuntimeError("a generation ended without its last event")
    sequence: dict[str, Any] = {
        "finish_reason": finish.reason,
        "generated_tokens": len(events),
        "seed": seed if request.sampling.sample else None,
        "prefill": [{"id": t.id, "text": t.text, "logprob": t.logprob} for t in finish.prefill],
        "tokens": [_token(event.token) for event in events],
    }
    if request.sampling.top_n_tokens:
        sequence["top_tokens"] = [[_token(t) for t in event.top_tokens] for event in events]
    return sequence


def _text(request: CheckedRequest, event: TokenEvent) -> str:
    text = event.finish.text if event.finish else ""
    return request.inputs + text if request.full_text else text


async def _answer(service: GenerationService, request: CheckedRequest) -> dict[str, Any]:
    seeds = [(request.sampling.seed + i) % (1 << 63) for i in range(request.best_of)]
    if request.best_of == 1:
        seeds = [request.sampling.seed]
    runs = await asyncio.gather(*(service.whole(request, seed=seed) for seed in seeds))

    def score(i: int) -> float:
        return math.fsum(event.token.logprob or 0.0 for event in runs[i]) / len(runs[i])

    order = sorted(range(len(runs)), key=score, reverse=True)
    best = order[0]
    answer: dict[str, Any] = {"generated_text": _text(request, runs[best][-1])}
    if request.details:
        answer["details"] = _sequence(request, runs[best], seeds[best])
        if len(order) > 1:
            answer["details"]["best_of_sequences"] = [
                {"generated_text": _text(request, runs[i][-1])} | _sequence(request, runs[i], seeds[i])
                for i in order[1:]
            ]
    return answer


async def _stream(service: GenerationService, request: CheckedRequest) -> AsyncIterator[bytes]:
    try:
        with service.admission:
            async with aclosing(service.events(request)) as events:  # type: ignore[type-var]
                async for event in events:
                    yield server_event(_stream_event(request, event))
    except TgiError as error:
        yield server_event(error.body())


def _stream_event(request: CheckedRequest, event: TokenEvent) -> dict[str, Any]:
    payload: dict[str, Any] = {"index": event.index, "token": _token(event.token)}
    if request.sampling.top_n_tokens:
        payload["top_tokens"] = [_token(t) for t in event.top_tokens]
    payload |= {"generated_text": None, "details": None}
    if event.finish is not None:
        payload["generated_text"] = _text(request, event)
        payload["details"] = {
            "finish_reason": event.finish.reason,
            "generated_tokens": event.index,
            "input_length": len(request.prompt),
            "seed": request.sampling.seed if request.sampling.sample else None,
        }
    return payload


def native_routes(service: GenerationService, settings: LlmSettings) -> APIRouter:
    """The routes over one service."""
    router = APIRouter()

    def checked(body: GenerateRequest, *, stream: bool) -> CheckedRequest:
        try:
            return check(body.inputs, body.parameters, settings, service.model.tokenizer, stream=stream)
        except TgiError as error:
            service.refused(error)
            raise

    async def whole(request: Request, body: GenerateRequest) -> dict[str, Any] | None:
        order = checked(body, stream=False)
        try:
            with service.admission:
                return await unless_disconnected(request, _answer(service, order))
        except TgiError as error:
            if error.status == 429:
                service.refused(error)
            raise

    def streamed(body: GenerateRequest) -> Response:
        order = checked(body, stream=True)
        # Refused before the answer begins, so that the client sees the status.
        try:
            with service.admission:
                return StreamingResponse(_stream(service, order), media_type="text/event-stream")
        except TgiError as error:
            service.refused(error)
            raise

    @router.post("/generate")
    async def generate(request: Request, body: GenerateRequest) -> Response:
        """Generate tokens; one answer at the end."""
        return JSONResponse(await whole(request, body))

    @router.post("/generate_stream")
    async def generate_stream(body: GenerateRequest) -> Response:
        """Generate tokens; one Server-Sent Event each."""
        return streamed(body)

    @router.post("/")
    async def compatible(request: Request, body: GenerateRequest) -> Response:
        """What ``huggingface_hub`` posts to: streams if ``stream``, else answers with a list of one."""
        if body.stream:
            return streamed(body)
        return JSONResponse([await whole(request, body)])

    @router.post("/tokenize")
    async def tokenize(body: GenerateRequest) -> list[dict[str, Any]]:
        """The tokens of ``inputs``."""
        if not body.inputs:
            raise invalid("`inputs` cannot be empty")
        encoded = service.model.tokenizer.encode(body.inputs)
        return [
            {"id": i, "text": body.inputs[start:stop], "start": start, "stop": stop}
            for i, (start, stop) in zip(encoded.ids, encoded.offsets, strict=True)
        ]

    return router
