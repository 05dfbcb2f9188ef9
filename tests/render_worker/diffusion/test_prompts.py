"""One encoding a caption, and captions that are too long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from synfarm_render_worker.diffusion import prompts
from synfarm_render_worker.diffusion.prompts import Prompts
from synfarm_render_worker.renderer import ImageRequest

LONG = "a dog and a cat and a horse and a cow and a sheep and a goat and a duck and a goose and a hen and a pig"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[list[str]]]:
    """Captions by call of the adapter's encoders, from now on."""

    def watched(adapter: Any) -> list[list[str]]:
        calls: list[list[str]] = []
        encode = adapter.encode

        def counted(captions: Sequence[str]) -> Any:
            calls.append(list(captions))
            return encode(captions)

        monkeypatch.setattr(adapter, "encode", counted)
        return calls

    return watched


@pytest.mark.parametrize("family", ["sd", "lcm", "sdxl", "sd3", "flux"])
def test_each_caption_once_whatever_the_calls_and_the_empty_prompt_once(
    renderer: Callable[..., Any], encoded: Callable[[Any], list[list[str]]], family: str
) -> None:
    drawn = renderer(family, batch=3)
    calls = encoded(drawn._model.adapter)
    requests = [ImageRequest(caption, seed) for caption in ("a dog", "a cat") for seed in (1, 2, 3, 4)]
    drawn.render(requests[:5])
    drawn.render(requests[5:])
    captions = [caption for call in calls for caption in call]
    empty = [""] if family in ("sd", "sdxl", "sd3") else []  # the others have no pass without the caption
    assert sorted(captions) == sorted(["a dog", "a cat", *empty])


def test_no_guidance_needs_no_empty_prompt(
    renderer: Callable[..., Any], encoded: Callable[[Any], list[list[str]]]
) -> None:
    drawn = renderer("sd", guidance=1.0)
    calls = encoded(drawn._model.adapter)
    drawn.render([ImageRequest("a dog", 1)])
    assert calls == [["a dog"]]


def test_the_oldest_captions_are_forgotten(load: Callable[..., Any], encoded: Callable[[Any], Any]) -> None:
    adapter = load("sd").adapter
    calls = encoded(adapter)
    prompts = Prompts(adapter, kept=2)
    for caption in ("a", "b", "a", "c", "a", "b"):
        prompts.rows([caption])
    assert calls == [["a"], ["b"], ["c"], ["b"]]


def test_together_an_embedding_is_the_same_whatever_is_beside_it(load: Callable[..., Any]) -> None:
    adapter = load("sdxl").adapter
    captions = [f"dog {i}" for i in range(5)]
    with torch.inference_mode():
        four = Prompts(adapter, together=4).rows([*captions, "dog 0"])
        alone = Prompts(adapter, together=4)
        rows = [alone.rows([caption]) for caption in captions]
    assert four.tokens.shape[0] == 6
    assert four.pooled is not None
    for i, row in enumerate(rows):
        assert torch.equal(four.tokens[i], row.tokens[0])
        assert row.pooled is not None
        assert torch.equal(four.pooled[i], row.pooled[0])


@pytest.mark.parametrize(("family", "limit"), [("sd", 16), ("sdxl", 16), ("sd3", 256), ("flux", 512)])
def test_truncated_captions_are_counted_once_and_logged_once_a_unit(
    renderer: Callable[..., Any], logged: Callable[..., Any], family: str, limit: int
) -> None:
    drawn, lines = renderer(family, batch=2), logged(prompts)
    long = LONG * (6 if limit > 16 else 1)
    captions = ["a dog", long, f"{long} again"]
    drawn.render([ImageRequest(caption, seed) for caption in captions for seed in (1, 2, 3)])
    assert drawn.spent().truncated == 2
    assert [(line["event"], line["limit_tokens"]) for line in lines] == [("caption_truncated", limit)]
    drawn.render([ImageRequest(f"{long} and again", 1)])
    assert drawn.spent().truncated == 1


def test_a_truncated_caption_is_drawn_by_its_beginning(renderer: Callable[..., Any]) -> None:
    drawn = renderer("sd")
    first, second = drawn.render([ImageRequest(LONG, 1), ImageRequest(f"{LONG} and much else", 1)])
    assert (first.pixels == second.pixels).all()
