"""Any model of timm without its classifier: of the hub, of a file, of a folder."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data.config import resolve_data_config
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from synfarm_trainer.models.frozen import Frozen
from synfarm_trainer.networks.refused import NetworkRefused

__all__ = ["of_folder", "of_timm"]

_BROKEN = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)


def of_timm(model: str, file: Path | None = None) -> Frozen:
    """Pretrained weights of the hub, or those of a safetensors file with timm's names; a classifier in it is left out.

    Raises:
        NetworkRefused: timm has no such model, or the file does not fit it.
        ConnectionError: the hub does not answer.
    """
    if not timm.is_model(model.partition(".")[0]):
        near = get_close_matches(model, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise NetworkRefused(f"timm has no model {model!r}; {hint}")
    if file is None:
        return _frozen(f"timm:{model}", _of_hub(model))
    if file.suffix != ".safetensors" or not file.is_file():
        raise NetworkRefused(f"{file}: is no safetensors file; weights in other forms are not read")
    network = timm.create_model(model, pretrained=False, num_classes=0)
    try:
        tensors = load_file(file)
        missing, unexpected = network.load_state_dict(tensors, strict=False)
    except _BROKEN as error:
        raise NetworkRefused(f"{file}: its weights do not fit {model} ({_first(error)}); name its own model") from error
    surplus = [name for name in unexpected if not name.startswith(("head.", "classifier.", "fc."))]
    if missing or surplus:
        raise NetworkRefused(f"{file}: has not the weights of {model} ({(missing + surplus)[0]}); name its own model")
    return _frozen(f"timm:{model}={file}", network)


def _of_hub(model: str) -> Any:
    try:
        return timm.create_model(model, pretrained=True, num_classes=0, pretrained_strict=False)
    except (OSError, HfHubHTTPError) as error:
        cure = "try again, fill its cache (HF_HOME) beforehand, or name a file: timm:MODEL=FILE.safetensors"
        raise ConnectionError(f"the hub does not give {model}; {cure}") from error
    except _BROKEN as error:
        raise NetworkRefused(f"timm cannot load pretrained weights of {model}: {_first(error)}") from error


def of_folder(folder: Path) -> Frozen:
    """``config.json`` and ``model.safetensors`` as timm's hub has them, or a run's ``backbone.json`` and weights.

    Raises:
        NetworkRefused: it is neither, or damaged.
    """
    try:
        if (folder / "backbone.json").is_file():
            return _of_export(folder)
        if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
            raise NetworkRefused(f"{folder}: there is neither config.json with model.safetensors nor backbone.json")
        return _frozen(f"folder:{folder}", timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0))
    except NetworkRefused:
        raise
    except _BROKEN as error:
        raise NetworkRefused(f"{folder}: cannot be loaded ({_first(error)}); export it again") from error


def _of_export(folder: Path) -> Frozen:
    told = json.loads((folder / "backbone.json").read_text())
    network: Any = VisionTransformer(**told["arguments"], weight_init="skip")
    network.load_state_dict(load_file(folder / "backbone.safetensors"))
    given = told["input"]
    described = {"width": network.num_features, **{name: told[name] for name in ("network", "step") if name in told}}
    return Frozen(
        f"folder:{folder}", network.eval(), given["size"], tuple(given["mean"]), tuple(given["std"]), described
    )


def _frozen(name: str, network: Any) -> Frozen:
    taken = resolve_data_config(model=network)  # type: ignore[no-untyped-call]
    module: nn.Module = network.eval()
    width = int(getattr(network, "head_hidden_size", None) or network.num_features)
    return Frozen(name, module, taken["input_size"][-1], tuple(taken["mean"]), tuple(taken["std"]), {"width": width})


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
