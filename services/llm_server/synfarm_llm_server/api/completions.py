"""OpenAI's ``/v1/completions`` and ``/v1/models``: text without the stop sequence, one choice a prompt."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from synfarm_llm_server.api.errors import TgiError, invalid
from synfarm_llm_server.api.native import server_event, unless_disconnected
from synfarm_llm_server.api.schemas import CompletionRequest, Parameters
from synfarm_llm_server.api.validation import CheckedRequest, check
from synfarm_llm_server.engine.request import FinishReason, TokenEvent
from synfarm_llm_server.engine.text import StopHold
from synfarm_llm_server.service import GenerationService
from synfarm_llm_server.settings import LlmSettings

__all__ = ["completion_routes"]

_REASONS: dict[FinishReason, str] = {"length": "length", "eos_token": "stop", "stop_sequence": "stop"}


def _parameters(body: CompletionRequest) -> Parameters:
    for field in ("suffix", "logprobs"):
        if getattr(body, field) is not None:
            raise invalid(f"`{field}` is not supported by this server; leave it out")
    if body.echo or body.n != 1 or body.best_of not in {None, 1}:
        raise invalid("`echo`, `n` and `best_of` are not supported here; send one request per answer")
    greedy = body.temperature == 0
    return Parameters(
        max_new_tokens=body.max_tokens,
        # OpenAI: 0 means greedy, 1 (the default) means sampling as it is, top_p 1 means all.
        temperature=None if greedy else body.temperature,
        do_sample=not greedy,
        top_p=None if greedy or body.top_p == 1 else body.top_p,
        top_k=None if greedy else body.top_k,
        seed=body.seed,
        stop=[body.stop] if isinstance(body.stop, str) else body.stop,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
    )


class _Answer:
    """The fields that every part of one answer shares."""

    def __init__(self, model_id: str) -> None:
        self._base = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model_id,
            "system_fingerprint": "synfarm-llm-server",
        }

    def part(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> dict[str, Any]:
        return self._base | {"choices": choices} | ({"usage": usage} if usage else {})


def _usage(requests: list[CheckedRequest], generated: int) -> dict[str, int]:
    prompt = sum(len(request.prompt) for request in requests)
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


def _whole_choice(index: int, events: list[TokenEvent]) -> dict[str, Any]:
    finish = events[-1].finish
    if finish is None:
        raise RuntimeError("a generation ended without its last event")
    return _choice(index, finish.text.removesuffix(finish.stop or ""), _REASONS[finish.reason])


async def _stream(service: GenerationService, request: CheckedRequest, answer: _Answer) -> AsyncIterator[bytes]:
    hold = StopHold(request.stop)
    try:
        with service.admission:
            async with aclosing(service.events(request)) as events:  # type: ignore[type-var]
                async for event in events:
                    text = "" if event.token.special else hold.add(event.token.text)
                    usage = None
                    reason = None
                    if event.finish is not None:
                        text += hold.close(event.finish.stop)
                        reason = _REASONS[event.finish.reason]
                        usage = _usage([request], event.index)
                    if text or reason:
                        yield server_event(answer.part([_choice(0, text, reason)], usage))
        yield b"data: [DONE]\n\n"
    except TgiError as error:
        yield server_event(error.body())


def completion_routes(service: GenerationService, settings: LlmSettings) -> APIRouter:
    """The routes over one service."""
    router = APIRouter(prefix="/v1")

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """The one model."""
        entry = {"id": service.model.model_id, "object": "model", "created": 0, "owned_by": "synfarm"}
        return {"object": "list", "data": [entry]}

    @router.post("/completions")
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Complete one prompt or several."""
        try:
            prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
            if not prompts or len(prompts) > settings.max_concurrent_requests:
                raise invalid(f"`prompt` takes 1 to {settings.max_concurrent_requests} prompts. Given: {len(prompts)}")
            if body.stream and len(prompts) > 1:
                raise invalid("`stream` takes one `prompt`")
            given = _parameters(body)
            tokenizer = service.model.tokenizer
            orders = [check(prompt, given, settings, tokenizer, stream=body.stream) for prompt in prompts]
            answer = _Answer(service.model.model_id)
            with service.admission:
                if body.stream:
                    return StreamingResponse(_stream(service, orders[0], answer), media_type="text/event-stream")
                work = asyncio.gather(*(service.whole(order) for order in orders))
                runs = await unless_disconnected(request, _as_coroutine(work)) or []
        except TgiError as error:
            if error.error_type in {"validation", "overloaded"}:
                service.refused(error)
            raise
        choices = [_whole_choice(i, events) for i, events in enumerate(runs)]
        return JSONResponse(answer.part(choices, _usage(orders, sum(map(len, runs)))))

    return router


async def _as_coroutine(work: asyncio.Future[list[list[TokenEvent]]]) -> list[list[TokenEvent]]:
    return await work
