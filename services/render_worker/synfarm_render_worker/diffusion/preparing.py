"""Makes a renderer of a loaded model ready: its batch size, looked up or found, and compiled blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from synfarm.contracts.render_settings import RenderSettings
from synfarm.telemetry import get_logger
from synfarm_render_worker.diffusers_renderer import DiffusersRenderer
from synfarm_render_worker.diffusion.batching import for_want_of_memory
from synfarm_render_worker.diffusion.compiling import keep_below, to_eager
from synfarm_render_worker.diffusion.loading import LoadedModel
from synfarm_render_worker.diffusion.tuning import BatchBook, BatchKey, DoesNotFit, tuned
from synfarm_render_worker.renderer import Step, no_step
from synfarm_render_worker.settings import RenderWorkerSettings

__all__ = ["key_of", "prepared"]

_log = get_logger(__name__)

_CPU_PIXELS, _CPU_BATCH = 8 * 128 * 128, 8
"""Small images gain from a batch on one core (137, 101, 76, 66 and 64 ms an image at 1, 2, 4, 8 and 16: SD's blocks at
64 px); large ones fill it alone, and memory that a CPU lacks ends the process, not the batch. So no tuning there."""
_STEPS = 3
"""Drawn to measure a batch size; the rest is reckoned."""


def prepared(
    render: RenderSettings,
    model: LoadedModel,
    settings: RenderWorkerSettings,
    cache: Path,
    step: Step = no_step,
    *,
    halved: Callable[[], None] = lambda: None,
) -> DiffusersRenderer:
    """A renderer whose first batch is as fast as its later ones. What ``step`` raises passes through.

    ``halved`` hears of each batch that memory did not suffice for.

    Raises:
        UnitFault: the settings do not fit the model.
    """
    gpu = on_gpu(model.device)
    key, book = key_of(render, model), BatchBook(cache / "batches.json")

    def shrunk(batch: int) -> None:
        halved()
        book.put(key, batch)

    renderer = DiffusersRenderer(render, model, batch=1, shrunk=shrunk)
    compiled = settings.compile == "on" or (settings.compile == "auto" and gpu)
    known = settings.batch or book.get(key)
    if known is None and not gpu:
        known = max(1, min(_CPU_BATCH, _CPU_PIXELS // key.size**2))
    if known is None:
        if model.compiled:
            to_eager(model.adapter)  # else each batch size that is tried would be compiled
            model.compiled = False
        known = _tune(renderer, model.device, step)
        book.put(key, known)
        _log.info("batch_tuned", model=render.model, size=key.size, passes=key.passes, batch=known)
    renderer.batch = known
    if compiled:
        keep_below(cache)
        renderer.compile(step)
    return renderer


def key_of(render: RenderSettings, model: LoadedModel) -> BatchKey:
    """What a batch size is remembered by."""
    return BatchKey(
        device=_gpu_name(model.device) if on_gpu(model.device) else "cpu",
        model=str(render.model),
        revision=render.revision,
        size=render.render_size or render.size,
        passes="guided" if model.adapter.halves(render.guidance) else "plain",
        dtype=str(model.dtype).removeprefix("torch."),
    )


def _tune(renderer: DiffusersRenderer, device: torch.device, step: Step) -> int:
    def seconds_of(batch: int) -> float:
        try:
            return renderer.seconds_of(batch, steps=_STEPS, step=step)
        except (RuntimeError, MemoryError) as error:
            if not for_want_of_memory(error):
                raise
        torch.cuda.empty_cache()
        raise DoesNotFit

    best = tuned(seconds_of, lambda: _memory_used(device))
    torch.cuda.empty_cache()
    return best


def on_gpu(device: torch.device) -> bool:
    """Whether tuning and compiling are worth their time."""
    return device.type == "cuda"


def _gpu_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device)


def _memory_used(device: torch.device) -> float:
    """Share of the device's memory that is taken, by whomever."""
    free, total = torch.cuda.mem_get_info(device)
    return 1 - free / total
