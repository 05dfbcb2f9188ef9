"""The API through huggingface_hub's clients: text, details, streams, errors, limits."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import OverloadedError, ValidationError


def test_text_details_and_stream_agree(serve) -> None:
    url, _ = serve()
    client = InferenceClient(url)
    asked = {"max_new_tokens": 12, "seed": 5, "temperature": 1.5, "top_p": 0.9}
    text = client.text_generation("a cat", **asked)
    full = client.text_generation("a cat", details=True, **asked)
    assert full.generated_text == text
    assert full.details.generated_tokens == len(full.details.tokens) == 12
    assert full.details.seed == 5
    events = list(client.text_generation("a cat", stream=True, details=True, **asked))
    assert "".join(e.token.text for e in events if not e.token.special) == text == events[-1].generated_text
    assert events[-1].details.finish_reason == "length"


async def test_async_client_overlaps(serve) -> None:
    url, service = serve()
    before = service._engine.passes
    async with AsyncInferenceClient(url) as client:
        texts = await asyncio.gather(*(client.text_generation("x", max_new_tokens=40, seed=i) for i in range(16)))
    assert len(texts) == 16
    assert service._engine.passes - before < 16 * 40 / 3


def test_validation_errors(serve) -> None:
    url, _ = serve()
    client = InferenceClient(url)
    with pytest.raises(ValidationError, match=r"`inputs` tokens \+ `max_new_tokens` must be <= 256. Given: 199"):
        client.text_generation("x" * 199, max_new_tokens=100)
    for bad in (
        {"temperature": 0.0}, {"top_p": 1.0}, {"top_k": 0}, {"best_of": 2, "seed": 1, "do_sample": True},
        {"watermark": True}, {"stop": list("abcde")}, {"typical_p": 2.0}, {"repetition_penalty": -1.0},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            client.text_generation("x", **bad)
    answer = httpx.post(f"{url}/generate", json={"inputs": ""})
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")
    assert httpx.post(f"{url}/generate", json={"inputs": 3}).json()["error_type"] == "validation"


async def test_overload_is_429(serve) -> None:
    url, _ = serve(max_concurrent_requests=2)
    async with AsyncInferenceClient(url) as client:
        calls = [client.text_generation("x", max_new_tokens=200) for _ in range(8)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [r for r in results if isinstance(r, OverloadedError)]
    assert refused
    assert str(refused[0]) == "Model is overloaded"
    assert sum(isinstance(r, str) for r in results) >= 2


@pytest.mark.parametrize("route", ["generate", "generate_stream"])
async def test_disconnect_frees_the_row(serve, route) -> None:
    url, service = serve(max_total_tokens=4000)
    async with httpx.AsyncClient() as client:
        body = {"inputs": "x", "parameters": {"max_new_tokens": 3900}}
        call = asyncio.ensure_future(client.post(f"{url}/{route}", json=body, timeout=30))
        end = time.monotonic() + 60
        while service._engine.running < 1 and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert service._engine.running == 1
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    end = time.monotonic() + 60
    while (service._engine.running or service.admission.taken) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert service._engine.running == service.admission.taken == 0
    assert service._engine.passes < 3000


def test_completions(serve) -> None:
    url, _ = serve()
    asked = {"prompt": "a cat", "max_tokens": 30, "seed": 3}
    whole = httpx.post(f"{url}/v1/completions", json=asked).json()
    text = whole["choices"][0]["text"]
    assert whole["usage"]["completion_tokens"] == 30
    stop = text[4:6]
    cut = httpx.post(f"{url}/v1/completions", json=asked | {"stop": stop}).json()["choices"][0]
    assert cut["text"] == text[: text.index(stop)]
    assert cut["finish_reason"] == "stop"
    lines = httpx.post(f"{url}/v1/completions", json=asked | {"stop": stop, "stream": True}).text.split("\n\n")
    parts = [json.loads(line[5:]) for line in lines if line.startswith("data:{")]
    assert "".join(p["choices"][0]["text"] for p in parts) == cut["text"]
    assert "data: [DONE]" in lines


def test_native_text_holds_the_stop_sequence(serve) -> None:
    url, _ = serve()
    client = InferenceClient(url)
    text = client.text_generation("a cat", max_new_tokens=30)
    stop = text[5:7]
    assert client.text_generation("a cat", max_new_tokens=30, stop=[stop]).endswith(stop)


def test_info_health_metrics(serve) -> None:
    url, _ = serve()
    info = httpx.get(f"{url}/info").json()
    assert (info["model_id"], info["max_total_tokens"]) == ("tiny", 256)
    assert httpx.get(f"{url}/health").status_code == 200
    InferenceClient(url).text_generation("x", max_new_tokens=2)
    assert "tgi_request_success_total 1.0" in httpx.get(f"{url}/metrics").text
