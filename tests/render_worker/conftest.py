"""Diffusion models small enough to draw in milliseconds, with random weights, saved as a worker's folder of models."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synfarm.contracts.jobs import RenderSettings


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models, one a family: ``sd lcm sdxl sd3 flux``."""
    import torch
    from benchmarks.random_pipelines import TINY

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    for family, build in TINY.items():
        build().save_pretrained(root / family, safe_serialization=True)
    return root


@pytest.fixture
def load(models: Path) -> Callable[..., Any]:
    """``load(family)`` or ``load(settings)``: a freshly loaded model in float32 on the CPU."""
    import torch

    from synfarm_render_worker.diffusion.loading import load_model
    from synfarm_render_worker.model_files import ModelFiles

    def loaded(wanted: str | RenderSettings, root: Path = models) -> Any:
        render = drawn(wanted) if isinstance(wanted, str) else wanted
        return load_model(render, ModelFiles(root), device=torch.device("cpu"), dtype=torch.float32)

    return loaded


def drawn(model: str, **changes: Any) -> RenderSettings:
    own = model in ("sd3", "flux", "lcm")
    base: dict[str, Any] = {"size": 32, "steps": 3, "guidance": 2.5, "sampler": "model" if own else "ddim"}
    return RenderSettings(renderer="diffusers", model=model, family="tiny", **{**base, **changes})


@pytest.fixture
def render_settings() -> Callable[..., RenderSettings]:
    """``render_settings(family, **changes)``: a job's settings for one of the tiny models."""
    return drawn


@pytest.fixture
def renderer(load: Callable[..., Any]) -> Callable[..., Any]:
    """``renderer(family, batch=7, **changes)``, on a model of its own."""
    from synfarm_render_worker.diffusers_renderer import DiffusersRenderer

    def made(family: str, *, batch: int = 7, **changes: Any) -> Any:
        return DiffusersRenderer(drawn(family, **changes), load(family), batch=batch)

    return made


@pytest.fixture
def floats(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``floats(renderer, requests)``: images before their cast to bytes, images x 3 x height x width in [-1, 1]."""
    import torch

    from synfarm_render_worker import diffusers_renderer

    decode = diffusers_renderer.decode

    def caught(renderer: Any, requests: Any) -> Any:
        parts = []

        def kept(*arguments: Any) -> Any:
            parts.append(decode(*arguments))
            return parts[-1]

        monkeypatch.setattr(diffusers_renderer, "decode", kept)
        renderer.render(requests)
        return torch.cat(parts)[: len(requests)].numpy()

    return caught


@pytest.fixture
def impatient_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's library tries for twenty seconds; with this it does not wait between."""
    from huggingface_hub.utils import _http

    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None, time=time.time))
