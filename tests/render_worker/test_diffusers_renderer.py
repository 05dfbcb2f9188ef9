"""The diffusers renderer on a tiny random pipeline: an image depends on its caption and seed, not on its batch."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.diffusers_renderer import DiffusersRenderer, load_pipeline
from synfarm_render_worker.renderer import ImageRequest, RenderedImage


def settings(folder: Path, **changes: Any) -> RenderSettings:
    base = RenderSettings(renderer="diffusers", model="tiny", family="tiny", size=32, steps=3, guidance=2.5)
    return base.model_copy(update={"model": str(folder), **changes})


@pytest.fixture
def renderer(tiny_pipeline_folder: Path) -> DiffusersRenderer:
    torch.set_num_threads(1)
    wanted = settings(tiny_pipeline_folder)
    return DiffusersRenderer(wanted, load_pipeline(wanted, dtype=torch.float32), batch_hint=7)


def floats(renderer: DiffusersRenderer, requests: list[ImageRequest]) -> np.ndarray:
    """Images before their cast to bytes."""
    caught: list[np.ndarray] = []
    stored = renderer._stored

    def catch(array: Any, request: ImageRequest) -> RenderedImage:
        caught.append(array)
        return stored(array, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer, "_stored", catch)
        renderer.render(requests)
    return np.stack(caught)


REQUESTS = [ImageRequest(caption, seed) for caption in ("a dog", "two red cars") for seed in (1, 2, 3, 4)][:7]


def test_batch_of_seven_draws_what_seven_batches_draw(renderer: DiffusersRenderer) -> None:
    together = floats(renderer, REQUESTS)
    alone = np.concatenate([floats(renderer, [request]) for request in REQUESTS])
    assert np.abs(together - alone).max() < 1e-4
    reordered = floats(renderer, REQUESTS[::-1])[::-1]
    assert np.abs(together - reordered).max() < 1e-4


def test_seed_and_caption_decide(renderer: DiffusersRenderer) -> None:
    torch.manual_seed(123)
    first = floats(renderer, [ImageRequest("a dog", 1)] * 2)
    torch.manual_seed(321)
    again = floats(renderer, [ImageRequest("a dog", 1)])
    assert np.array_equal(first[0], first[1]) or np.abs(first[0] - first[1]).max() < 1e-5
    assert np.abs(first[0] - again[0]).max() < 1e-5
    assert np.abs(first[0] - floats(renderer, [ImageRequest("a dog", 2)])[0]).max() > 0.01
    assert np.abs(first[0] - floats(renderer, [ImageRequest("a cat", 1)])[0]).max() > 1e-5


def test_one_text_encoding_a_caption_and_the_empty_prompt_once(
    renderer: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    encode = renderer._pipeline.encode_prompt

    def counted(text: str | None, *args: Any, **kwargs: Any) -> Any:
        if text is not None:  # the pipeline itself calls with None: the embeddings are there already
            calls[text] += 1
        return encode(text, *args, **kwargs)

    monkeypatch.setattr(renderer._pipeline, "encode_prompt", counted)
    renderer.render(REQUESTS)
    renderer.render(REQUESTS[:2])
    assert calls == {"": 1, "a dog": 2, "two red cars": 1}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own, in its solver
def test_guidance_and_sampler_matter(tiny_pipeline_folder: Path) -> None:
    def one(**changes: Any) -> np.ndarray:
        wanted = settings(tiny_pipeline_folder, **changes)
        return floats(DiffusersRenderer(wanted, load_pipeline(wanted, dtype=torch.float32)), REQUESTS[:1])

    base = one()
    assert np.abs(base - one(guidance=7.5)).max() > 1e-4
    assert np.abs(base - one(sampler="dpmpp2m")).max() > 1e-4


def test_draws_at_the_render_size(tiny_pipeline_folder: Path) -> None:
    wanted = settings(tiny_pipeline_folder, size=16, render_size=32)
    image = DiffusersRenderer(wanted, load_pipeline(wanted, dtype=torch.float32)).render(REQUESTS[:1])[0]
    assert image.pixels.shape == (32, 32, 3)
    assert image.pixels.dtype == np.uint8
    assert image.scene is None


def test_nan_is_a_unit_fault(renderer: DiffusersRenderer) -> None:
    with torch.no_grad():
        renderer._pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(UnitFault, match="NaN or infinity in the image of seed 1"):
        renderer.render(REQUESTS[:1])


def test_out_of_memory_halves_the_batch_and_ends_at_one(
    renderer: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, room = renderer._draw, 2

    def small(requests: Any, known: Any) -> Any:
        if len(requests) > room:
            raise torch.cuda.OutOfMemoryError("no room")
        return draw(requests, known)

    whole = floats(renderer, REQUESTS)
    monkeypatch.setattr(renderer, "_draw", small)
    assert np.abs(floats(renderer, REQUESTS) - whole).max() < 1e-4
    assert renderer.batch_hint <= 2
    room = 0
    with pytest.raises(UnitFault, match="out of GPU memory with one image of 32 px"):
        renderer.render(REQUESTS[:1])


def test_a_hub_model_must_be_pinned() -> None:
    with pytest.raises(UnitFault, match=r"render\.revision: pin 'some/model'"):
        load_pipeline(settings(Path("some/model")), dtype=torch.float32)


def test_weights_that_are_not_safetensors_are_refused(tiny_pipeline_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_pipeline_folder, tmp_path / "model")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(EnvironmentFault, match="cannot be loaded"):
        load_pipeline(settings(copy), dtype=torch.float32)
