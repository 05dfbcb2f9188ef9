"""The loop: guidance that ends early, samplers, steps that are told, and a unit that is let go in the middle."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from synfarm.queue.unit import UnitFault
from synfarm_render_worker.renderer import ImageRequest

TWO = [ImageRequest("a dog", 5), ImageRequest("a red car", 6)]
SEVEN = [ImageRequest(f"dog {i // 2}", i) for i in range(7)]
NUMPY_IN_THE_SOLVER = "ignore:__array__ implementation:DeprecationWarning"  # of diffusers' solvers


def without_guidance_after(share: float) -> Callable[..., dict[str, Any]]:
    """The recipe in diffusers' documentation of callbacks."""

    def callback(pipe: Any, step: int, _: Any, known: dict[str, Any]) -> dict[str, Any]:
        if step + 1 == round(pipe.num_timesteps * share):
            known["prompt_embeds"] = known["prompt_embeds"].chunk(2)[-1]
            pipe._guidance_scale = 0.0
        return known

    return callback


def test_guidance_until_is_the_recipe_of_diffusers(renderer: Callable[..., Any], floats: Callable[..., Any]) -> None:
    drawn = renderer("sd", steps=5, guidance_until=0.4)
    ours = floats(drawn, TWO).clip(-1, 1)
    pipeline = drawn._model.adapter.pipeline
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        [request.caption for request in TWO],
        height=32,
        width=32,
        num_inference_steps=5,
        guidance_scale=2.5,
        generator=[torch.Generator("cpu").manual_seed(request.seed) for request in TWO],
        output_type="np",
        callback_on_step_end=without_guidance_after(0.4),
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
    ).images
    assert np.abs(ours - (np.asarray(theirs).transpose(0, 3, 1, 2) * 2 - 1)).max() < 2e-5
    assert np.abs(ours - floats(renderer("sd", steps=5), TWO)).max() > 1e-4


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3"])
def test_guidance_until_halves_the_batch_for_the_rest(
    renderer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    drawn = renderer(family, steps=5, guidance_until=0.4)
    adapter, rows = drawn._model.adapter, []
    predict = adapter.predict

    def seen(sample: torch.Tensor, *arguments: Any) -> torch.Tensor:
        rows.append(len(sample))
        return predict(sample, *arguments)

    monkeypatch.setattr(adapter, "predict", seen)
    drawn.render(TWO)
    assert rows == [4, 4, 2, 2, 2]
    assert sum(rows) / len(TWO) == drawn._settings.network_passes


@pytest.mark.filterwarnings(NUMPY_IN_THE_SOLVER)
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp2m", "lcm", "euler", "model"])
def test_samplers_draw_whatever_the_batch(
    renderer: Callable[..., Any], floats: Callable[..., Any], sampler: str
) -> None:
    drawn = renderer("sd", sampler=sampler, steps=4)
    together = floats(drawn, SEVEN)
    alone = np.concatenate([floats(drawn, [request]) for request in SEVEN])
    assert np.abs(together - alone).max() < 1e-4
    if sampler not in ("ddim", "model"):  # the tiny model's own is DDIM
        assert np.abs(together - floats(renderer("sd", steps=4), SEVEN)).max() > 1e-4


@pytest.mark.filterwarnings(NUMPY_IN_THE_SOLVER)
def test_noise_of_steps_is_the_image_s_own(renderer: Callable[..., Any], floats: Callable[..., Any]) -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    drawn = renderer("sd", sampler="model", steps=4)
    drawn._scheduler = EulerAncestralDiscreteScheduler.from_config(drawn._scheduler.config)
    torch.manual_seed(1)
    together = floats(drawn, SEVEN)
    torch.manual_seed(2)
    alone = np.concatenate([floats(drawn, [request]) for request in SEVEN])
    assert np.abs(together - alone).max() < 1e-4


def test_a_scheduler_with_one_noise_for_the_batch_is_refused(load: Callable[..., Any]) -> None:
    from synfarm.contracts.render_presets import Sampler
    from synfarm_render_worker.diffusion.samplers import sampler_of

    class DPMSolverSDEScheduler:
        config = MappingProxyType({"of": "a model"})

    with pytest.raises(UnitFault, match=r"render\.sampler: .*DPMSolverSDEScheduler draws one noise.*'ddim'"):
        sampler_of(Sampler.MODEL, load("sd").adapter, DPMSolverSDEScheduler())


@pytest.mark.parametrize("family", ["sd3", "flux"])
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp2m", "lcm", "euler"])
def test_a_flow_matching_model_has_its_own_sampler(renderer: Callable[..., Any], family: str, sampler: str) -> None:
    with pytest.raises(UnitFault, match=rf"render\.sampler: '{sampler}' .*flow-matching.*sampler 'model'"):
        renderer(family, sampler=sampler)


def test_too_many_steps_name_the_field(renderer: Callable[..., Any]) -> None:
    with pytest.raises(UnitFault, match=r"render\.steps: LCMScheduler cannot take 60 steps"):
        renderer("lcm", steps=60)


def test_every_step_is_told_and_may_end_it(renderer: Callable[..., Any]) -> None:
    class Enough(Exception):
        pass

    drawn, told = renderer("sd", steps=5), []
    before = drawn.render(TWO, lambda: told.append(1))
    assert len(told) == 5

    def stop() -> None:
        told.append(1)
        if len(told) == 8:
            raise Enough

    with pytest.raises(Enough):
        drawn.render(TWO, stop)
    assert len(told) == 8
    again = drawn.render(TWO)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(before, again, strict=True))


@pytest.mark.filterwarnings(NUMPY_IN_THE_SOLVER)
def test_times_stay_on_the_cpu_so_that_no_step_waits(load: Callable[..., Any]) -> None:
    from synfarm.contracts.render_presets import Sampler
    from synfarm_render_worker.diffusion.samplers import sampler_of, set_up

    model = load("sd")
    for sampler in (Sampler.DDIM, Sampler.LCM, Sampler.EULER, Sampler.MODEL):
        scheduler = sampler_of(sampler, model.adapter, model.own_scheduler)
        assert set_up(model.adapter, scheduler, steps=4, size=32).device.type == "cpu"
