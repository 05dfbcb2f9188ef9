"""Which renderer a job gets: one model at a time, loaded once, and what a worker says that cannot make it."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.jobs import RenderSettings
from synfarm.contracts.render_settings import ModelRef
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.renderer import ImageRequest
from synfarm_render_worker.settings import RenderWorkerSettings
from synfarm_render_worker.shelf import RendererShelf


@pytest.fixture
def loads() -> list[float]:
    """Seconds of each load of a model."""
    return []


@pytest.fixture
def shelf(models: Path, tmp_path: Path, loads: list[float]) -> RendererShelf:
    return RendererShelf(RenderWorkerSettings(models=models, cache=tmp_path / "cache", device="cpu"), told=loads.append)


@pytest.mark.parametrize("missing", ["torch", "diffusers"])
def test_a_worker_without_diffusers_draws_collages_and_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    shelf = RendererShelf(RenderWorkerSettings())
    assert shelf(RenderSettings()).name == "collage"
    job = RenderSettings(renderer="diffusers", family="sd15", model="a/b", revision="c")
    with pytest.raises(EnvironmentFault, match=rf"'{missing}'.*synfarm\[render-worker,diffusers\]"):
        shelf(job)


def test_what_does_not_change_an_image_keeps_the_renderer(
    shelf: RendererShelf, loads: list[float], render_settings: Callable[..., RenderSettings]
) -> None:
    first = shelf(render_settings("sd", render_size=64))
    for change in (
        {"quality": 50},
        {"image_format": "webp"},
        {"clip_score": ModelRef(model="a/clip")},
        {"nsfw_score": ModelRef(model="a/checker")},
        {"size": 48},
    ):
        assert shelf(render_settings("sd", **{"render_size": 64, **change})) is first
    assert shelf(render_settings("sd", size=64)) is first
    assert len(loads) == 1


def test_other_steps_guidance_or_sampler_keep_the_weights(
    shelf: RendererShelf, loads: list[float], render_settings: Callable[..., RenderSettings]
) -> None:
    request = [ImageRequest("a dog", 1)]
    before = shelf(render_settings("sd")).render(request)[0].pixels
    for change in ({"steps": 5}, {"guidance": 7.5}, {"guidance_until": 0.4}, {"sampler": "lcm"}, {"size": 64}):
        renderer = shelf(render_settings("sd", **change))
        other = renderer.render(request)[0].pixels
        assert other.shape != before.shape or (other != before).any()
    assert (shelf(render_settings("sd")).render(request)[0].pixels == before).all()
    assert len(loads) == 1


def test_another_model_takes_the_place_of_the_first_which_is_freed_before(
    shelf: RendererShelf,
    loads: list[float],
    render_settings: Callable[..., RenderSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from synfarm_render_worker.diffusion import loading

    held: Any = shelf(render_settings("sd"))  # as a packing thread may hold it
    weights = weakref.ref(held._model.adapter.denoiser)
    versions = dict(held.versions)
    load, alive = loading.load_model, []

    def watched(*arguments: Any, **more: Any) -> Any:
        gc.collect()
        alive.append(weights() is not None)
        return load(*arguments, **more)

    monkeypatch.setattr(loading, "load_model", watched)
    request = [ImageRequest("a dog", 1)]
    assert shelf(render_settings("sdxl")).render(request)
    assert alive == [False]
    assert held.versions == versions
    assert shelf(RenderSettings()).name == "collage"
    assert shelf(render_settings("sdxl", steps=2)).render(request)
    assert len(loads) == 2
    assert shelf(render_settings("sd")).render(request)
    assert len(loads) == 3


def test_a_model_that_cannot_be_loaded_leaves_the_shelf_usable(
    shelf: RendererShelf, render_settings: Callable[..., RenderSettings]
) -> None:
    shelf(render_settings("sd"))
    with pytest.raises(EnvironmentFault, match=r"render\.revision: pin 'none'.*SYNFARM_RENDER_MODELS"):
        shelf(render_settings("none"))
    with pytest.raises(UnitFault, match=r"render\.sampler"):
        shelf(render_settings("sd3", sampler="ddim"))
    assert shelf(render_settings("sd3")).render([ImageRequest("a dog", 1)])


def test_a_gpu_that_is_not_there(
    models: Path, render_settings: Callable[..., RenderSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    shelf = RendererShelf(RenderWorkerSettings(models=models, device="cuda"))
    with pytest.raises(EnvironmentFault, match="SYNFARM_RENDER_DEVICE: 'cuda', and torch sees no GPU"):
        shelf(render_settings("sd"))
