"""torch.compile: one shape a batch, a cache on disk, and eager when it fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synfarm_render_worker import diffusers_renderer
from synfarm_render_worker.diffusion import compiling
from synfarm_render_worker.diffusion.compiling import compile_blocks, failed_to_compile, keep_below, to_eager
from synfarm_render_worker.diffusion.preparing import prepared
from synfarm_render_worker.renderer import ImageRequest
from synfarm_render_worker.settings import RenderWorkerSettings

REQUESTS = [ImageRequest("a dog", seed) for seed in range(3)]


def pretend(monkeypatch: pytest.MonkeyPatch, backend: Callable[..., Any]) -> None:
    """Let compiled blocks go through ``backend`` instead of inductor, whose C++ takes a minute here."""
    compile_module = torch.nn.Module.compile

    def with_backend(module: torch.nn.Module, **more: Any) -> None:
        compile_module(module, backend=backend, **more)

    monkeypatch.setattr(torch.nn.Module, "compile", with_backend)


def marked(model: Any) -> int:
    networks = (model.adapter.denoiser, model.adapter.pipeline.vae.decoder)
    return sum(m._compiled_call_impl is not None for network in networks for m in network.modules())


@pytest.mark.parametrize(("family", "blocks"), [("sd", 18), ("sdxl", 18), ("sd3", 8), ("flux", 8)])
def test_repeated_blocks_are_found_and_set_back(load: Callable[..., Any], family: str, blocks: int) -> None:
    model = load(family)
    assert compile_blocks(model.adapter) == marked(model) == blocks
    to_eager(model.adapter)
    assert marked(model) == 0


def test_compiled_images_are_the_eager_ones_at_two_shapes(
    load: Callable[..., Any],
    render_settings: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    graphs: list[tuple[int, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        shapes = [tuple(i.shape) for i in inputs if isinstance(i, torch.Tensor) and i.ndim == 4]
        graphs.extend(shapes[:1])
        return graph.forward

    torch.compiler.reset()
    pretend(monkeypatch, backend)
    model, render = load("sd3"), render_settings("sd3", steps=4, guidance_until=0.5)
    settings = RenderWorkerSettings(batch=4)
    eager = prepared(render, model, settings, tmp_path).render(REQUESTS)
    assert not model.compiled
    drawn = prepared(render, model, settings.model_copy(update={"compile": "on"}), tmp_path)
    assert model.compiled
    known = len(graphs)
    assert known
    rows: list[int] = []
    predict = model.adapter.predict

    def seen(sample: torch.Tensor, *arguments: Any) -> torch.Tensor:
        rows.append(len(sample))
        return predict(sample, *arguments)

    monkeypatch.setattr(model.adapter, "predict", seen)
    images = drawn.render(REQUESTS)
    assert len(images) == 3
    assert rows == [8, 8, 4, 4], "filled up to the batch of 4, guided and not"
    assert len(graphs) == known, "nothing is compiled beyond what the start did"
    for a, b in zip(eager, images, strict=True):
        assert np.abs(a.pixels.astype(int) - b.pixels.astype(int)).max() <= 1
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "inductor")
    torch.compiler.reset()


def test_a_compiler_that_fails_is_logged_and_left_alone(
    load: Callable[..., Any],
    render_settings: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    logged: Callable[..., Any],
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)

    def backend(*_: Any) -> Any:
        raise RuntimeError("no C++ compiler here")

    torch.compiler.reset()
    pretend(monkeypatch, backend)
    model, render, lines = load("sd3"), render_settings("sd3"), logged(diffusers_renderer)
    settings = RenderWorkerSettings(batch=4, compile="on")
    drawn = prepared(render, model, settings, tmp_path)
    assert drawn.render(REQUESTS)
    (line,) = (line for line in lines if line["event"] == "compilation_failed")
    assert "no C++ compiler here" in line["error"]
    assert marked(model) == 0
    prepared(render_settings("sd3", steps=2), model, settings, tmp_path)
    assert marked(model) == 0, "once is enough"
    torch.compiler.reset()


def test_a_compiler_that_fails_in_the_middle_draws_eager(
    renderer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = renderer("sd")
    drawn._model.compiled = True
    predict, failed = drawn._model.adapter.predict, []

    def once(*arguments: Any) -> torch.Tensor:
        if not failed:
            failed.append(1)
            raise torch._dynamo.exc.BackendCompilerFailed(lambda: None, RuntimeError("x"), None)
        return predict(*arguments)

    monkeypatch.setattr(drawn._model.adapter, "predict", once)
    assert len(drawn.render(REQUESTS)) == 3
    assert not drawn._model.compiled


def test_an_interrupt_while_compiling_is_no_failure(
    load: Callable[..., Any],
    render_settings: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    pretend(monkeypatch, lambda graph, _: graph.forward)
    model = load("sd3")
    settings = RenderWorkerSettings(batch=4, compile="on")
    with pytest.raises(Enough):
        prepared(render_settings("sd3"), model, settings, tmp_path, stop)
    assert model.compiled
    assert prepared(render_settings("sd3"), model, settings, tmp_path).render(REQUESTS)
    torch.compiler.reset()


def test_which_errors_are_the_compiler_s() -> None:
    import torch._inductor.exc

    assert failed_to_compile(torch._inductor.exc.CppCompileError(["g++"], "no"))
    assert not failed_to_compile(RuntimeError("mat1 and mat2"))


def test_the_environment_says_where_the_cache_is_if_it_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch._inductor.runtime import cache_dir_utils

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    keep_below(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    cache_dir_utils.cache_dir()  # as inductor's import may do before
    keep_below(tmp_path)
    assert cache_dir_utils.cache_dir() == str(tmp_path / "inductor")
    assert compiling._GRAPHS > 8
