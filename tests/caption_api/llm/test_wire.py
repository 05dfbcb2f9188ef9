"""Both wire formats against a scripted server: what is sent, how answers and errors are read."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from huggingface_hub import AsyncInferenceClient

from synfarm_caption_api.llm.completions import CompletionsApi
from synfarm_caption_api.llm.discovery import discover
from synfarm_caption_api.llm.http import JsonHttp, open_session
from synfarm_caption_api.llm.tgi import TgiApi
from synfarm_caption_api.llm.wire import Ask, CallFailed, PushedBack
from synfarm_caption_api.text_generator import PromptRefused

INFO = (200, {"model_id": "smol", "model_sha": "abc", "max_concurrent_requests": 128})
TGI_GOOD = (
    200,
    {
        "generated_text": " a red dog\n",
        "details": {
            "finish_reason": "stop_sequence",
            "generated_tokens": 4,
            "seed": 7,
            "prefill": [],
            "tokens": [],
        },
    },
)
ASK = Ask("dog =>", 7, 0.8, 0.9, 20, ("\n",))


def models(*entries: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"object": "list", "data": list(entries)}


def completion(**choice: Any) -> tuple[int, Any]:
    body = {"choices": [{"index": 0, "text": " a red dog", **choice}], "usage": {"completion_tokens": 4}}
    return 200, body


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session(token="secret-of-the-server", timeout=5) as session:
        yield session


async def test_tgi_is_asked_as_huggingface_hub_asks_it(serving: Callable[..., Any], monkeypatch: Any) -> None:
    """The library is the reference for the wire: same path, same parameters, same reading of the answer."""
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_machine")
    async with serving({"/info": [INFO], "/generate": [TGI_GOOD]}) as server:
        async with open_session(token=None, timeout=5) as session:
            api = await TgiApi.discover(JsonHttp(session, server.url))
            ours = await api.complete(ASK)
        async with AsyncInferenceClient(token="none", provider="hf-inference") as client:
            theirs = await client.text_generation(
                ASK.prompt,
                model=f"{server.url}/generate",
                details=True,
                do_sample=True,
                return_full_text=False,
                seed=7,
                temperature=0.8,
                top_p=0.9,
                max_new_tokens=20,
                stop=["\n"],
            )
    (_, info_headers, _), (path, headers, body), (their_path, _, their_body) = server.asked
    assert path == their_path == "/generate"
    assert body["inputs"] == their_body["inputs"]
    assert body["parameters"] == {k: v for k, v in their_body["parameters"].items() if v is not None}
    assert ours.text == theirs.generated_text
    assert (ours.finish_reason, ours.tokens) == (theirs.details.finish_reason, theirs.details.generated_tokens)
    assert (api.info.model.model, api.info.model.revision, api.info.max_in_flight) == ("smol", "abc", 128)
    assert not {"authorization", "cookie"} & (headers.keys() | info_headers.keys())


async def test_top_p_of_one_is_left_out_because_tgi_refuses_it(
    serving: Callable[..., Any], session: aiohttp.ClientSession
) -> None:
    async with serving({"/info": [INFO], "/generate": [TGI_GOOD]}) as server:
        api = await TgiApi.discover(JsonHttp(session, server.url))
        await api.complete(Ask("x", 1, 1.0, 1.0, 5))
    assert server.asked[-1][2]["parameters"]["top_p"] is None


async def test_completions_are_asked_with_the_model_that_is_served(
    serving: Callable[..., Any], session: aiohttp.ClientSession
) -> None:
    script = {"/v1/models": [models({"id": "llama-7b"})], "/v1/completions": [completion(finish_reason="length")]}
    async with serving(script) as server:
        api = await CompletionsApi.discover(JsonHttp(session, server.url + "/"))
        answer = await api.complete(ASK)
    assert server.asked[-1][2] == {
        "model": "llama-7b",
        "prompt": "dog =>",
        "seed": 7,
        "temperature": 0.8,
        "top_p": 0.9,
        "max_tokens": 20,
        "stop": ["\n"],
    }
    assert server.asked[-1][1]["authorization"] == "Bearer secret-of-the-server"
    assert (answer.text, answer.finish_reason, answer.tokens) == (" a red dog", "length", 4)
    assert (api.info.model.model, api.info.model.revision) == ("llama-7b", None)


@pytest.mark.parametrize(
    ("choice", "finish"),
    [
        ({"finish_reason": "length", "stop_reason": None}, "length"),
        ({"finish_reason": "stop", "stop_reason": "\n"}, "stop_sequence"),  # vLLM
        ({"finish_reason": "stop", "stop_reason": None}, "eos_token"),
        ({"finish_reason": "stop", "matched_stop": "\n"}, "stop_sequence"),  # SGLang
        ({"finish_reason": "stop", "matched_stop": 2}, "eos_token"),
        ({"finish_reason": "stop"}, "stop_sequence"),  # llama.cpp, and our llm-server
    ],
)
async def test_finish_reasons_of_each_server(
    serving: Callable[..., Any], session: aiohttp.ClientSession, choice: dict[str, Any], finish: str
) -> None:
    async with serving({"/v1/models": [models({"id": "m"})], "/v1/completions": [completion(**choice)]}) as server:
        api = await CompletionsApi.discover(JsonHttp(session, server.url))
        assert (await api.complete(ASK)).finish_reason == finish


@pytest.mark.parametrize("reason", ["abort", "content_filter", None])
async def test_an_answer_that_was_cut_off_is_no_caption(
    serving: Callable[..., Any], session: aiohttp.ClientSession, reason: str | None
) -> None:
    script = {"/v1/models": [models({"id": "m"})], "/v1/completions": [completion(finish_reason=reason)]}
    async with serving(script) as server:
        api = await CompletionsApi.discover(JsonHttp(session, server.url))
        with pytest.raises(CallFailed, match="unknown reason"):
            await api.complete(ASK)


async def test_which_model_of_several(serving: Callable[..., Any], session: aiohttp.ClientSession) -> None:
    adapters = models({"id": "base", "parent": None}, {"id": "lora", "parent": "base"})
    async with serving({"/v1/models": [adapters]}) as server:
        http = JsonHttp(session, server.url)
        assert (await CompletionsApi.discover(http)).info.model.model == "base"
        assert (await CompletionsApi.discover(http, "lora")).info.model.model == "lora"
        with pytest.raises(CallFailed, match=r"does not serve 'other' but 2 models \('base', 'lora'\)"):
            await CompletionsApi.discover(http, "other")
    async with serving({"/v1/models": [models({"id": "a"}, {"id": "b"})]}) as server:
        with pytest.raises(CallFailed, match="SYNFARM_CAPTION_LLM_MODEL") as caught:
            await CompletionsApi.discover(JsonHttp(session, server.url))
        assert caught.value.hopeless
    async with serving({"/v1/models": [models()]}) as server:
        with pytest.raises(CallFailed, match="lists no model"):
            await CompletionsApi.discover(JsonHttp(session, server.url))


async def test_auto_finds_the_api(serving: Callable[..., Any], session: aiohttp.ClientSession) -> None:
    async with serving({"/info": [INFO], "/v1/models": [models({"id": "m"})]}) as server:
        assert isinstance(await discover(JsonHttp(session, server.url), "auto"), TgiApi)
        assert isinstance(await discover(JsonHttp(session, server.url), "completions"), CompletionsApi)
    for info in ([(404, {})], [(200, {"name": "something else"})]):
        async with serving({"/info": info, "/v1/models": [models({"id": "m"})]}) as server:
            assert isinstance(await discover(JsonHttp(session, server.url), "auto"), CompletionsApi)
    async with serving({"/info": [(503, {"error": "loading"})], "/v1/models": [models({"id": "m"})]}) as server:
        with pytest.raises(CallFailed, match="loading"):  # a TGI that is not ready yet is still a TGI
            await discover(JsonHttp(session, server.url), "auto")
    async with serving({}) as server:
        with pytest.raises(CallFailed, match="speaks neither TGI's API"):
            await discover(JsonHttp(session, server.url), "auto")


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        ((429, {"error": "Model is overloaded", "error_type": "overloaded"}), None),
        ((429, {}, {"Retry-After": "7"}), 7.0),
        ((503, {}, {"Retry-After": "2.5"}), 2.5),
        ((429, {}, {"Retry-After": "soon"}), None),
        ((429, {}, {"Retry-After": "-3"}), 0.0),
    ],
)
async def test_busy_is_told_apart(
    serving: Callable[..., Any], session: aiohttp.ClientSession, answer: Any, retry_after: float | None
) -> None:
    async with serving({"/generate": [answer]}) as server:
        with pytest.raises(PushedBack) as caught:
            await JsonHttp(session, server.url).post("/generate", {})
    assert caught.value.retry_after == retry_after


async def test_retry_after_may_be_a_date(serving: Callable[..., Any], session: aiohttp.ClientSession) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    async with serving({"/generate": [(429, {}, {"Retry-After": when})]}) as server:
        with pytest.raises(PushedBack) as caught:
            await JsonHttp(session, server.url).post("/generate", {})
    assert caught.value.retry_after is not None
    assert 20 < caught.value.retry_after <= 30


@pytest.mark.parametrize(
    ("answer", "said", "timed_out", "hopeless"),
    [
        ((500, {"error": "CUDA error"}), "CUDA error", False, False),
        ((424, {"error": "Request failed during generation"}), "failed during generation", False, False),
        ((502, b"<html>bad gateway</html>"), "HTTP 502", False, False),
        ((503, {}), "HTTP 503", False, False),
        ((504, {}), "HTTP 504", True, False),
        ((401, {"error": "no key"}), "HTTP 401", False, True),
        ((404, {"error": "no such model"}), "no such model", False, True),
        ((302, b"", {"Location": "http://elsewhere.invalid/"}), "HTTP 302", False, False),
        ((200, b"<html>hello</html>"), "no JSON", False, False),
        ((200, [1, 2]), "no object", False, False),
    ],
)
async def test_failures_are_told_apart(
    serving: Callable[..., Any],
    session: aiohttp.ClientSession,
    answer: Any,
    said: str,
    timed_out: bool,
    hopeless: bool,
) -> None:
    async with serving({"/generate": [answer]}) as server:
        with pytest.raises(CallFailed, match=said) as caught:
            await JsonHttp(session, server.url).post("/generate", {})
    assert (caught.value.timed_out, caught.value.hopeless) == (timed_out, hopeless)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
async def test_a_server_that_repeats_our_key_gives_it_to_nobody(serving: Callable[..., Any], status: int) -> None:
    key = "sk-s3cret/MARK+"
    forms = (key, quote(key, safe=""), b64encode(key.encode()).decode())
    said = f"{'x' * 280} incorrect API key: {' '.join(forms)}".encode()
    session = open_session(token=key, timeout=10)
    try:
        async with serving({"/generate": [(status, said), (status, said[270:])]}) as server:
            for _ in range(2):
                with pytest.raises((CallFailed, PushedBack, PromptRefused)) as caught:
                    await JsonHttp(session, server.url).post("/generate", {})
                assert [form for form in forms if form[:12] in str(caught.value)] == []
    finally:
        await session.close()
    assert "incorrect API key: (our key) (our key) (our key)" in str(caught.value)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_prompt_is_the_request_s_fault(
    serving: Callable[..., Any], session: aiohttp.ClientSession, status: int
) -> None:
    script = {"/generate": [(status, {"error": "`inputs` must have less than 10 tokens"})]}
    async with serving(script) as server:
        with pytest.raises(PromptRefused, match="less than 10 tokens"):
            await JsonHttp(session, server.url).post("/generate", {})


async def test_an_answer_of_another_kind_of_server_is_told(
    serving: Callable[..., Any], session: aiohttp.ClientSession
) -> None:
    async with serving({"/info": [INFO], "/generate": [(200, {"generated_text": "x"})]}) as server:
        api = await TgiApi.discover(JsonHttp(session, server.url))
        with pytest.raises(CallFailed, match="not TGI's API"):
            await api.complete(ASK)


async def test_no_connection_and_no_answer(session: aiohttp.ClientSession) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with open_session(token=None, timeout=0.2) as hasty:
        with pytest.raises(CallFailed, match="no answer in time") as caught:
            await JsonHttp(hasty, url).post("/generate", {})
    assert caught.value.timed_out
    listener.close()
    await listener.wait_closed()
    with pytest.raises(CallFailed, match="Connect"):
        await JsonHttp(session, url).get("/info")
