"""Loads a job's model onto the worker's device, with its LoRA, ready to draw."""

from __future__ import annotations

import time
from typing import Any, Literal

import diffusers
import torch
import transformers
from diffusers import AutoPipelineForText2Image, UNet2DConditionModel
from safetensors import SafetensorError

from synfarm.contracts.render_settings import RenderSettings
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm.telemetry import get_logger
from synfarm_render_worker.diffusion import lora
from synfarm_render_worker.diffusion.adapters.choice import adapter_of
from synfarm_render_worker.diffusion.adapters.protocol import FamilyAdapter
from synfarm_render_worker.diffusion.batching import for_want_of_memory
from synfarm_render_worker.diffusion.prompts import Prompts
from synfarm_render_worker.diffusion.weights import check_room, checked_index, weight_bytes
from synfarm_render_worker.model_files import ModelFiles, first_line
from synfarm_render_worker.renderer import Step, no_step

__all__ = ["LoadedModel", "dtype_of", "load_model"]

_log = get_logger(__name__)

_CAPTIONS_TOGETHER = 8
"""On a GPU, where encoding one caption leaves most of it idle; a CPU would pay for each row."""
_LORA_FILES = ("*.safetensors",)


class LoadedModel:
    """Weights on a device, and what was made of them: encoded captions, compiled blocks."""

    def __init__(self, adapter: FamilyAdapter, *, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.adapter: FamilyAdapter = adapter
        self.own_scheduler: Any = adapter.pipeline.scheduler
        self.prompts = Prompts(adapter, together=_CAPTIONS_TOGETHER if device.type == "cuda" else 1)
        self.compiled = False
        self.compiles = True
        """Until it proves that it does not."""

    def release(self) -> None:
        """Let go of the weights, whoever still holds this object."""
        del self.adapter, self.own_scheduler, self.prompts


def dtype_of(wanted: Literal["auto", "float32", "float16", "bfloat16"], device: torch.device) -> torch.dtype:
    """``auto``: bfloat16 on a GPU that computes in it, float16 on an older one, float32 on a CPU."""
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if wanted != "auto":
        return known[wanted]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def load_model(
    render: RenderSettings,
    files: ModelFiles,
    *,
    device: torch.device,
    dtype: torch.dtype,
    step: Step = no_step,
) -> LoadedModel:
    """From a local folder or the hub, safetensors only, without safety checker or watermark.

    ``step`` is told that it gets on; what it raises passes through.

    Raises:
        UnitFault: nobody can draw it: no pin, no family of this version, a LoRA that does not fit.
        EnvironmentFault: it cannot be loaded here and now.
    """
    assert render.model is not None, "the contract demands a model of diffusers jobs"
    _quiet()
    began = time.monotonic()
    folder = files.find("render", render.model, render.revision, step=step)
    index = checked_index(folder, render.model)
    needed = weight_bytes(folder, index, dtype)
    check_room(needed, device, render.model)
    # It turns frames black, and black frames must not enter the set; scoring is a later stage's work.
    more: dict[str, Any] = {}
    if "safety_checker" in index:
        more = {"safety_checker": None, "requires_safety_checker": False}
    try:
        pipeline: Any = AutoPipelineForText2Image.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, **more
        )
    except ValueError as error:
        if "AutoPipeline" in str(error):
            raise UnitFault(
                f"render.model: {index.get('_class_name')} of {render.model!r} is no text-to-image pipeline; name one"
            ) from error
        raise _not_loaded(render.model, error) from error
    except (OSError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError) as error:
        raise _not_loaded(render.model, error) from error
    step()
    adapter = adapter_of(pipeline)
    if render.lora is not None:
        lora.fuse(
            pipeline,
            render.lora,
            files.find("render.lora", render.lora.model, render.lora.revision, files=_LORA_FILES, step=step),
        )
    try:
        _place(adapter, device, dtype)
    except RuntimeError as error:
        if not for_want_of_memory(error):
            raise
        raise _not_loaded(render.model, error) from error
    seconds = round(time.monotonic() - began, 1)
    _log.info("model_loaded", model=render.model, seconds=seconds, gigabytes=round(needed / 1e9, 2), dtype=str(dtype))
    return LoadedModel(adapter, device=device, dtype=dtype)


def _place(adapter: FamilyAdapter, device: torch.device, dtype: torch.dtype) -> None:
    pipeline = adapter.pipeline.to(device)
    pipeline.vae.to(dtype=adapter.vae_dtype(dtype))
    if device.type != "cuda":
        return
    # The layout that tensor cores convolve in; without it each convolution turns its input around and back. (A CPU
    # draws 10 % slower in it.)
    pipeline.vae.to(memory_format=torch.channels_last)
    convolves = isinstance(adapter.denoiser, UNet2DConditionModel)
    if convolves:
        adapter.denoiser.to(memory_format=torch.channels_last)
    torch.set_float32_matmul_precision("high")  # TF32: for a VAE in float32


def _not_loaded(model: str, error: Exception) -> EnvironmentFault:
    told = first_line(error)
    return EnvironmentFault(f"render.model: {model!r} cannot be loaded here ({told}); fetch its files again")


def _quiet() -> None:
    """Both libraries write to stderr past the process's log: bars, and a line for each truncated caption."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
