"""Text Generation Inference's native API: ``/info`` and ``/generate``."""

from __future__ import annotations

from typing import Any, cast

from synfarm_caption_api.llm.http import JsonHttp
from synfarm_caption_api.llm.wire import Ask, CallFailed, ServerInfo
from synfarm_caption_api.text_generator import FinishReason, Generation, ModelInfo

__all__ = ["TgiApi"]

_FINISHES = {"length", "eos_token", "stop_sequence"}


class TgiApi:
    """One server; made by :meth:`discover`."""

    def __init__(self, http: JsonHttp, info: ServerInfo) -> None:
        self._http, self._info = http, info

    @classmethod
    async def discover(cls, http: JsonHttp) -> TgiApi:
        """Ask ``/info``.

        Raises:
            PushedBack, CallFailed
            Missing: it has no such route, so it is no TGI.
        """
        told = await http.get("/info")
        if not isinstance(told.get("model_id"), str):
            raise CallFailed(f"{http.url}/info names no 'model_id': this is not TGI's native API", hopeless=True)
        cap = told.get("max_concurrent_requests")
        model = ModelInfo(told["model_id"], told.get("model_sha") or None)
        return cls(http, ServerInfo(model, cap if isinstance(cap, int) and cap > 0 else None))

    @property
    def info(self) -> ServerInfo:
        return self._info

    async def complete(self, ask: Ask) -> Generation:
        """One POST to ``/generate``. The text keeps the stop sequence, as TGI does."""
        parameters: dict[str, Any] = {
            "details": True,  # without it the answer does not tell why it ended
            "do_sample": True,
            "return_full_text": False,
            "seed": ask.seed,
            "temperature": ask.temperature,
            # TGI refuses 1.0, which means the same as not to give it.
            "top_p": ask.top_p if ask.top_p < 1 else None,
            "max_new_tokens": ask.max_new_tokens,
            "stop": list(ask.stop),
        }
        answer = await self._http.post("/generate", {"inputs": ask.prompt, "parameters": parameters})
        try:
            details = answer["details"]
            finish, tokens, text = details["finish_reason"], details["generated_tokens"], answer["generated_text"]
        except (KeyError, TypeError) as error:
            raise CallFailed(f"{self._http.url}/generate answers without {error}: this is not TGI's API") from error
        if not isinstance(text, str) or finish not in _FINISHES:
            raise CallFailed(f"{self._http.url}/generate ended for the unknown reason {finish!r}")
        return Generation(text, cast(FinishReason, finish), tokens)
