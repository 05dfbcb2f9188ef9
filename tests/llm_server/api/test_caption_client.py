"""The caption worker's client of both APIs, against this server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from synfarm_caption_api.generators import make_generator
from synfarm_caption_api.settings import LlmSettings
from synfarm_caption_api.text_generator import Generation, PromptRefused, TextGenerator


async def _ask(generator: TextGenerator, prompt: str = "a cat", new: int = 12) -> Generation:
    return await generator.generate(prompt, seed=5, temperature=1.5, top_p=0.9, max_new_tokens=new, stop=("\n",))


async def test_both_apis_give_the_same_caption(serve: Callable[..., Any]) -> None:
    url, _ = serve()
    answers = []
    for api in ("tgi", "completions", "auto"):
        generator = await make_generator(LlmSettings(url=url, api=api))
        try:
            answers.append(await _ask(generator))
            assert (await generator.info()).model == "tiny"
            with pytest.raises(PromptRefused, match="must be <= 256"):
                await _ask(generator, "x" * 199, 100)
        finally:
            await generator.aclose()
    native, completion, auto = answers
    assert native == auto
    assert completion.text == native.text.removesuffix("\n")
    assert (completion.tokens, completion.finish_reason) == (native.tokens, native.finish_reason)


@pytest.mark.parametrize("api", ["tgi", "completions"])
async def test_a_server_smaller_than_the_limit_paces_and_all_get_through(serve: Callable[..., Any], api: Any) -> None:
    url, _ = serve(max_concurrent_requests=3)
    generator = await make_generator(LlmSettings(url=url, api=api, start_in_flight=32))
    try:
        answers = await asyncio.gather(*(_ask(generator) for _ in range(24)))
    finally:
        await generator.aclose()
    assert len(answers) == 24
