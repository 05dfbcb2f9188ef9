"""Every family draws what its own pipeline of diffusers draws, and an image whatever is drawn beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from synfarm_render_worker.renderer import ImageRequest

REQUESTS = [ImageRequest(caption, seed) for caption in ("a dog", "two red cars") for seed in (1, 2, 3, 4)][:7]
TWO = [ImageRequest("a dog", 5), ImageRequest("a red car", 6)]


def by_pipeline(pipeline: Any, requests: list[ImageRequest], **more: Any) -> np.ndarray:
    """What diffusers itself draws, images x 3 x height x width in [-1, 1]."""
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
    captions = [request.caption for request in requests]
    drawn = pipeline(captions, height=32, width=32, generator=generators, output_type="np", **more).images
    return np.asarray(drawn).transpose(0, 3, 1, 2) * 2 - 1


@pytest.mark.parametrize(
    ("family", "guidance", "more"),
    [
        ("sd", 2.5, {"guidance_scale": 2.5}),
        ("sd", 1.0, {"guidance_scale": 1.0}),
        ("lcm", 8.5, {"guidance_scale": 8.5}),
        ("sdxl", 2.5, {"guidance_scale": 2.5}),
        ("sdxl", 0.0, {"guidance_scale": 0.0}),
        ("sd3", 2.5, {"guidance_scale": 2.5}),
        ("sd3", 1.0, {"guidance_scale": 1.0}),
        ("flux", 3.5, {"guidance_scale": 3.5}),
    ],
)
def test_the_numbers_of_the_pipeline(
    renderer: Callable[..., Any], floats: Callable[..., Any], family: str, guidance: float, more: dict[str, Any]
) -> None:
    drawn = renderer(family, guidance=guidance)
    ours = floats(drawn, TWO).clip(-1, 1)
    theirs = by_pipeline(drawn._model.adapter.pipeline, TWO, num_inference_steps=3, **more)
    assert np.abs(ours - theirs).max() < 2e-5
    assert np.abs(ours[0] - ours[1]).max() > 0.05


def test_flux_without_embedded_guidance_takes_the_true_one(
    floats: Callable[..., Any], render_settings: Callable[..., Any]
) -> None:
    from benchmarks.random_pipelines import tiny_flux

    from synfarm_render_worker.diffusers_renderer import DiffusersRenderer
    from synfarm_render_worker.diffusion.adapters.choice import adapter_of
    from synfarm_render_worker.diffusion.loading import LoadedModel

    pipeline = tiny_flux(guidance_embeds=False)
    model = LoadedModel(adapter_of(pipeline), device=torch.device("cpu"), dtype=torch.float32)
    for guidance in (2.5, 1.0):
        ours = floats(DiffusersRenderer(render_settings("flux", guidance=guidance), model, batch=2), TWO).clip(-1, 1)
        theirs = by_pipeline(
            pipeline,
            TWO,
            num_inference_steps=3,
            true_cfg_scale=guidance,
            negative_prompt=["", ""],
            max_sequence_length=256,
        )
        assert np.abs(ours - theirs).max() < 2e-5


@pytest.mark.parametrize("family", ["sd", "lcm", "sdxl", "sd3", "flux"])
def test_batch_of_seven_draws_what_seven_batches_draw(
    renderer: Callable[..., Any], floats: Callable[..., Any], family: str
) -> None:
    drawn = renderer(family)
    together = floats(drawn, REQUESTS)
    alone = np.concatenate([floats(drawn, [request]) for request in REQUESTS])
    assert np.abs(together - alone).max() < 1e-4
    reordered = floats(drawn, REQUESTS[::-1])[::-1]
    assert np.abs(together - reordered).max() < 1e-4
    assert np.array_equal(together, floats(drawn, REQUESTS))


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux"])
def test_noise_is_drawn_in_float32_on_the_cpu_whatever_the_model_is_in(
    renderer: Callable[..., Any], floats: Callable[..., Any], family: str
) -> None:
    exact = renderer(family)
    rough = renderer(family)
    pipeline = rough._model.adapter.pipeline
    pipeline.to(torch.bfloat16)
    assert np.abs(floats(exact, TWO) - floats(rough, TWO)).max() < 0.15
