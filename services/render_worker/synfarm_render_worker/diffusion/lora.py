"""Low-rank weights, fused into the network when it is loaded: drawing costs what it costs without them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from synfarm.contracts.render_settings import LoraRef
from synfarm.queue.unit import EnvironmentFault, UnitFault

__all__ = ["fuse"]


def fuse(pipeline: Any, lora: LoraRef, folder: Path) -> None:
    """
    Raises:
        EnvironmentFault: its file is missing or damaged here, or the package that reads it is.
        UnitFault: it does not fit the model.
    """
    if find_spec("peft") is None:
        raise EnvironmentFault(
            "render.lora: this worker cannot read LoRA weights, 'peft' is not installed: install "
            "'synfarm[render-worker,diffusers]'"
        )
    weights = _file(lora, folder)
    try:
        pipeline.load_lora_weights(folder, weight_name=weights, use_safetensors=True)
    except (OSError, ImportError, SafetensorError) as error:
        raise EnvironmentFault(
            f"render.lora: {lora.model}/{weights} cannot be read ({error}); fetch it again"
        ) from error
    except (ValueError, RuntimeError, KeyError, IndexError, TypeError) as error:
        raise _misfit(pipeline, lora, weights, str(error)) from error
    if not pipeline.get_list_adapters():
        raise _misfit(pipeline, lora, weights, "none of its weights names a layer of the model")
    pipeline.fuse_lora(lora_scale=lora.scale)
    pipeline.unload_lora_weights()


def _file(lora: LoraRef, folder: Path) -> str:
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if lora.weights is not None:
        if lora.weights not in found:
            there = ", ".join(found) or "no *.safetensors"
            raise EnvironmentFault(
                f"render.lora.weights: {lora.model!r} has no {lora.weights!r} (it has {there}); put it there, or name "
                "another"
            )
        return lora.weights
    if len(found) == 1:
        return found[0]
    if not found:
        raise EnvironmentFault(
            f"render.lora: {lora.model!r} holds no *.safetensors, and nothing else is loaded; convert its weights"
        )
    raise UnitFault(f"render.lora.weights: {lora.model!r} holds several files, name one: {', '.join(found)}")


def _misfit(pipeline: Any, lora: LoraRef, weights: str, reason: str) -> UnitFault:
    first = reason.strip().splitlines()[0] if reason.strip() else "unknown layers"
    return UnitFault(
        f"render.lora: {lora.model}/{weights} does not fit a {type(pipeline).__name__} ({first[:300]}); "
        "name a LoRA that was trained on this model's family"
    )
