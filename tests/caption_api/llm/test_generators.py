"""The generator of a process, from settings to sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import SecretStr, ValidationError

from synfarm_caption_api.generators import make_generator
from synfarm_caption_api.settings import LlmSettings
from synfarm_caption_api.text_generator import Generation, GeneratorAway, TextGenerator

INFO = (200, {"model_id": "smol", "model_sha": "abc"})
GOOD = (
    200,
    {"generated_text": " a red dog\n", "details": {"finish_reason": "stop_sequence", "generated_tokens": 4}},
)


async def _ask(generator: TextGenerator, seed: int = 7) -> Generation:
    return await generator.generate("dog =>", seed=seed, temperature=0.8, top_p=0.9, max_new_tokens=20, stop=("\n",))


async def test_two_servers_of_either_api_share_the_work_and_one_may_fall(serving: Callable[..., Any]) -> None:
    tgi = {"/info": [INFO], "/generate": [GOOD, (500, {}), (429, {}), GOOD]}
    choice = {"text": " a red dog", "finish_reason": "stop"}
    vllm = {
        "/v1/models": [(200, {"data": [{"id": "smol"}]})],
        "/v1/completions": [(200, {"choices": [choice], "usage": {"completion_tokens": 4}})],
    }
    registry = CollectorRegistry()
    async with serving(tgi) as one, serving(vllm) as two:
        settings = LlmSettings(url=f"{one.url}/, {two.url}/v1", timeout_seconds=5, token=SecretStr("key-of-the-farm"))
        generator = await make_generator(settings, registry)
        try:
            assert one.asked == two.asked == [], "nothing is sent before the first call"
            answers = await asyncio.gather(*(_ask(generator, seed) for seed in range(40)))
            info = await generator.info()
        finally:
            await generator.aclose()
    assert {answer.text.strip() for answer in answers} == {"a red dog"}
    assert info.model == "smol"
    posts = [path for server in (one, two) for path, _, _ in server.asked if "generate" in path or "compl" in path]
    assert len(posts) == 42
    assert {"/generate", "/v1/completions"} == set(posts)
    text = generate_latest(registry).decode()
    label = one.url.removeprefix("http://")
    assert f'synfarm_caption_llm_requests_total{{outcome="pushed_back",server="{label}"}} 1.0' in text
    assert f'synfarm_caption_llm_retries_total{{server="{label}"}} 1.0' in text
    assert "key-of-the-farm" not in text


async def test_nobody_there() -> None:
    generator = await make_generator(LlmSettings(url="http://127.0.0.1:9", away_seconds=0.2))
    try:
        with pytest.raises(GeneratorAway, match=r"LLM away: http://127.0.0.1:9"):
            await _ask(generator)
        with pytest.raises(GeneratorAway):
            await generator.probe()
    finally:
        await generator.aclose()


def test_urls_of_settings() -> None:
    settings = LlmSettings(url=" http://a:8080/ ,https://b/llm/v1")
    assert settings.urls == ("http://a:8080", "https://b/llm")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "is no base URL; give http://host:port"),
        ("localhost:8080", "is no base URL"),
        ("http://a,,http://b", "is no base URL"),
        ("ftp://a", "is no base URL"),
        ("http://user:hunter2@a", "SYNFARM_CAPTION_LLM_TOKEN"),
        ("http://a,http://a/v1", "given twice"),
    ],
)
def test_bad_urls_are_told_without_their_secrets(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        LlmSettings(url=url)
    assert "hunter2" not in str(caught.value)
