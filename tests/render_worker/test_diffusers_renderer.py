"""The diffusers renderer on tiny random models: one encoding a caption, memory, NaN, and what it spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from synfarm.queue.unit import UnitFault
from synfarm_render_worker.renderer import ImageRequest

REQUESTS = [ImageRequest(caption, seed) for caption in ("a dog", "two red cars") for seed in (1, 2, 3, 4)][:7]


def test_seed_and_caption_decide(renderer: Callable[..., Any], floats: Callable[..., Any]) -> None:
    drawn = renderer("sd")
    torch.manual_seed(123)
    first = floats(drawn, [ImageRequest("a dog", 1)] * 2)
    torch.manual_seed(321)
    again = floats(drawn, [ImageRequest("a dog", 1)])
    assert np.abs(first[0] - first[1]).max() < 1e-5
    assert np.abs(first[0] - again[0]).max() < 1e-5
    assert np.abs(first[0] - floats(drawn, [ImageRequest("a dog", 2)])[0]).max() > 0.01
    assert np.abs(first[0] - floats(drawn, [ImageRequest("a cat", 1)])[0]).max() > 1e-5


def test_guidance_matters(renderer: Callable[..., Any], floats: Callable[..., Any]) -> None:
    low, high = (floats(renderer("sd", guidance=guidance), REQUESTS[:1]) for guidance in (2.5, 7.5))
    assert np.abs(low - high).max() > 1e-4


def test_bytes_are_clamped_and_truncated(renderer: Callable[..., Any], floats: Callable[..., Any]) -> None:
    """Method section 2: clamp to [0, 1], times 255, truncated."""
    drawn = renderer("sd")
    with torch.no_grad():
        drawn._model.adapter.pipeline.vae.decoder.conv_out.weight.mul_(6)
    images = floats(drawn, REQUESTS)
    assert images.max() > 1
    assert images.min() < -1
    pixels = np.stack([image.pixels for image in drawn.render(REQUESTS)]).transpose(0, 3, 1, 2)
    assert np.array_equal(pixels, ((images * 0.5 + 0.5).clip(0, 1) * 255).astype(np.uint8))


def test_draws_at_the_render_size(renderer: Callable[..., Any]) -> None:
    image = renderer("sd", size=32, render_size=48).render(REQUESTS[:1])[0]
    assert image.pixels.shape == (48, 48, 3)
    assert image.pixels.dtype == np.uint8
    assert image.scene is None


def test_the_vae_decodes_in_slices(
    renderer: Callable[..., Any], floats: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from synfarm_render_worker.diffusion import decoding

    drawn, sizes = renderer("sd"), []
    whole = floats(drawn, REQUESTS)
    vae = drawn._model.adapter.pipeline.vae
    decode = vae.decode

    def seen(latents: torch.Tensor, **more: Any) -> Any:
        sizes.append(len(latents))
        return decode(latents, **more)

    monkeypatch.setattr(vae, "decode", seen)
    monkeypatch.setattr(decoding, "_SLICE_PIXELS", 3 * 32 * 32)
    assert np.abs(floats(drawn, REQUESTS) - whole).max() < 1e-5
    assert sizes == [3, 3, 1]


def test_what_it_spent(renderer: Callable[..., Any]) -> None:
    drawn = renderer("sd", batch=4, steps=5)
    assert drawn.spent().images == 0
    drawn.render(REQUESTS)
    drawn.render(REQUESTS[:1])
    spent = drawn.spent()
    assert (spent.images, spent.steps, spent.truncated) == (8, 15, 0)
    assert min(spent.text, spent.denoise, spent.decode) > 0
    assert drawn.spent().denoise == 0


def test_nan_names_seed_and_caption(renderer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from synfarm_render_worker import diffusers_renderer

    drawn, decode = renderer("sd"), diffusers_renderer.decode

    def broken(*arguments: Any) -> torch.Tensor:
        images = decode(*arguments)
        images[5, 1, 2, 3] = float("inf")
        return images

    monkeypatch.setattr(diffusers_renderer, "decode", broken)
    with pytest.raises(UnitFault, match="NaN or infinity in the image of seed 2: 'two red cars'"):
        drawn.render(REQUESTS)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("no room"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("CUDA error: out of memory"),
    ],
)
def test_out_of_memory_halves_the_batch_and_ends_at_one(
    renderer: Callable[..., Any], floats: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    drawn, told, room = renderer("sd", batch=7), [], 2
    adapter = drawn._model.adapter
    predict = adapter.predict
    drawn._shrunk = told.append

    def small(sample: torch.Tensor, *arguments: Any) -> torch.Tensor:
        if len(sample) > 2 * room:  # both halves
            raise error
        return predict(sample, *arguments)

    whole = floats(drawn, REQUESTS)
    monkeypatch.setattr(adapter, "predict", small)
    assert np.abs(floats(drawn, REQUESTS) - whole).max() < 1e-4
    assert (drawn.batch_hint, told) == (1, [3, 1])
    room = 0
    with pytest.raises(UnitFault, match=r"out of memory with one image of 32 px.*smaller render_size"):
        drawn.render(REQUESTS[:1])


def test_other_errors_do_not_touch_the_batch(renderer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = renderer("sd", batch=7)

    def wrong(*_: Any) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(drawn._model.adapter, "predict", wrong)
    with pytest.raises(RuntimeError, match="mat1"):
        drawn.render(REQUESTS)
    assert drawn.batch_hint == 7


@pytest.mark.parametrize(("family", "size", "cure"), [("sd", 33, "multiples of 2 px, not 33; ask for 32"),
                                                      ("sd3", 66, "multiples of 4 px, not 66; ask for 64"),
                                                      ("flux", 70, "multiples of 4 px, not 70; ask for 72"),
                                                      ("sd3", 128, "up to 64 px, not 128")])  # fmt: skip
def test_sizes_that_the_model_cannot_draw(renderer: Callable[..., Any], family: str, size: int, cure: str) -> None:
    with pytest.raises(UnitFault, match=rf"render\.render_size: this model draws .*{cure}"):
        renderer(family, size=32, render_size=size)
