"""``/v1/completions`` as vLLM, SGLang and llama.cpp serve it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synfarm_caption_api.llm.http import JsonHttp
from synfarm_caption_api.llm.wire import Ask, CallFailed, ServerInfo
from synfarm_caption_api.text_generator import FinishReason, Generation, ModelInfo

__all__ = ["CompletionsApi"]


class CompletionsApi:
    """One server; made by :meth:`discover`."""

    def __init__(self, http: JsonHttp, info: ServerInfo) -> None:
        self._http, self._info = http, info

    @classmethod
    async def discover(cls, http: JsonHttp, model: str | None = None) -> CompletionsApi:
        """Ask ``/v1/models`` which model answers; ``model`` chooses one of several.

        Raises:
            PushedBack, CallFailed
            Missing: it has no such route.
        """
        told = await http.get("/v1/models")
        entries = [entry for entry in told.get("data") or () if isinstance(entry, dict) and entry.get("id")]
        names = [str(entry["id"]) for entry in entries]
        # vLLM lists adapters beside their base model, and names it as their parent.
        bases = [str(entry["id"]) for entry in entries if not entry.get("parent")]
        if model is not None and model not in names:
            raise CallFailed(f"{http.url} does not serve {model!r} but {_listed(names)}", hopeless=True)
        if model is None and len(bases) != 1:
            raise CallFailed(
                f"{http.url}/v1/models lists {_listed(bases)}: name one by SYNFARM_CAPTION_LLM_MODEL", hopeless=True
            )
        return cls(http, ServerInfo(ModelInfo(model or bases[0])))

    @property
    def info(self) -> ServerInfo:
        return self._info

    async def complete(self, ask: Ask) -> Generation:
        """One POST to ``/v1/completions``. The text ends before the stop sequence."""
        body: dict[str, Any] = {
            "model": self._info.model.model,
            "prompt": ask.prompt,
            "seed": ask.seed,
            "temperature": ask.temperature,
            "top_p": ask.top_p,
            "max_tokens": ask.max_new_tokens,
        }
        if ask.stop:
            body["stop"] = list(ask.stop)
        answer = await self._http.post("/v1/completions", body)
        try:
            choice = answer["choices"][0]
            text = str(choice["text"])
        except (KeyError, IndexError, TypeError) as error:
            raise CallFailed(f"{self._http.url}/v1/completions answers without {error!r}") from error
        usage = answer.get("usage") or {}
        return Generation(text, self._finish(choice, ask), int(usage.get("completion_tokens") or 0))

    def _finish(self, choice: Mapping[str, Any], ask: Ask) -> FinishReason:
        """Why it ended. ``stop`` means both an end token and a stop sequence: vLLM and SGLang tell which of them.

        A server that does not tell is taken to have met the stop sequence when there was one.
        """
        reason = choice.get("finish_reason")
        if reason == "length":
            return "length"
        if reason != "stop":
            raise CallFailed(f"{self._http.url}/v1/completions ended for the unknown reason {reason!r}")
        for teller in ("stop_reason", "matched_stop"):
            if teller in choice:
                return "stop_sequence" if isinstance(choice[teller], str) else "eos_token"
        return "stop_sequence" if ask.stop else "eos_token"


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{len(names)} models ({shown}{', …' if len(names) > 5 else ''})" if names else "no model"
