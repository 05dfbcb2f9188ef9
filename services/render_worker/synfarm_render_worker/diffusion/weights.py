"""Looks at a model's files before it is loaded: safetensors alone, all there, and small enough for the device."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from synfarm.queue.unit import EnvironmentFault

__all__ = ["check_room", "checked_index", "weight_bytes"]

_OTHER_WEIGHTS = ("*.bin", "*.ckpt", "*.pt", "*.pth", "*.msgpack")
_SPARE = 1.05
"""Of the weights: what their loading takes beside them."""


def checked_index(folder: Path, name: str) -> dict[str, Any]:
    """The pipeline's ``model_index.json``, once every network in it has its safetensors.

    Raises:
        EnvironmentFault: something is missing; the message says what, and what to do.
    """
    try:
        index: dict[str, Any] = dict(json.loads((folder / "model_index.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise EnvironmentFault(
            f"render.model: {name!r} is no pipeline of diffusers, its model_index.json cannot be read ({error}); "
            "save it by save_pretrained(), or choose another model"
        ) from error
    for part, kind in index.items():
        if part.startswith("_") or part == "safety_checker":
            continue
        if Path(part).name != part:  # of whatever kind: weights are looked for below each
            raise EnvironmentFault(f"render.model: {name!r} has no part {part[:80]!r}; fetch the model's files again")
        if not isinstance(kind, list) or None in kind:
            continue
        _check_part(folder / part, f"{name}/{part}")
    return index


def _check_part(folder: Path, name: str) -> None:
    if not folder.is_dir():
        raise EnvironmentFault(f"render.model: the folder {name} is missing; fetch the model's files again")
    if not (folder / "config.json").is_file():
        # A tokenizer or a scheduler: no weights.
        if not any(folder.glob("*config.json")):
            raise EnvironmentFault(f"render.model: {name} has no *config.json; fetch the model's files again")
        return
    for index in folder.glob("*.safetensors.index.json"):
        try:
            shards = {str(shard) for shard in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise EnvironmentFault(
                f"render.model: {name}/{index.name} cannot be read ({error}); fetch the model's files again"
            ) from error
        # A shard lies beside its index: a name with a folder in it would lead out of the model's.
        gone = sorted(shard for shard in shards if Path(shard).name != shard or not (folder / shard).is_file())
        if gone:
            raise EnvironmentFault(f"render.model: {name}/{gone[0]} is missing; fetch the model's files again")
    if _chosen(folder):
        return
    others = sorted(path.name for pattern in _OTHER_WEIGHTS for path in folder.glob(pattern))
    if others:
        raise EnvironmentFault(
            f"render.model: the weights {name}/{others[0]} are not safetensors, and nothing else is loaded; convert "
            "them with save_pretrained(safe_serialization=True), or choose a revision that has safetensors"
        )
    raise EnvironmentFault(
        f"render.model: {name} has no weights (*.safetensors); fetch the model's files again, and without 'variant'"
    )


def weight_bytes(folder: Path, index: dict[str, Any], dtype: torch.dtype) -> int:
    """Bytes of the pipeline's weights in ``dtype``, from the headers of their files.

    Raises:
        EnvironmentFault: a file is not what its name says.
    """
    total = 0
    for part in index:
        if part.startswith("_") or part == "safety_checker":
            continue
        for path in _chosen(folder / part):
            try:
                with safe_open(path, framework="pt") as file:
                    shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118 - no mapping
            except (OSError, SafetensorError) as error:
                raise EnvironmentFault(
                    f"render.model: {path.parent.name}/{path.name} is damaged ({error}); fetch the model's files again"
                ) from error
            # Python's own numbers: a shape beside a 0 may be of any size, and torch's would overflow.
            total += sum(math.prod(shape) for shape in shapes)
    return total * dtype.itemsize


def _chosen(folder: Path) -> list[Path]:
    """The files that are loaded: those without a variant (``.fp16.``) in their names."""
    return [path for path in sorted(folder.glob("*.safetensors")) if path.name.count(".") == 1]


def check_room(needed: int, device: torch.device, name: str) -> None:
    """
    Raises:
        EnvironmentFault: the device has not enough free memory for so many bytes of weights.
    """
    if device.type == "cuda":
        free, where = torch.cuda.mem_get_info(device)[0], torch.cuda.get_device_name(device)
    else:
        free, where = _free_here(), "this machine"
    if needed * _SPARE > free:
        raise EnvironmentFault(
            f"the model {name!r} has {needed / 1e9:.1f} GB of weights and {where} has {free / 1e9:.1f} GB free; free "
            "some, take a smaller SYNFARM_RENDER_DTYPE or a smaller model, or serve this capability elsewhere"
        )


def _free_here() -> int:
    """Bytes that this process may still take: the machine's, or its container's if that is less."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            free = min(free, int(limit) - int((group / "memory.current").read_text()))
    except (OSError, KeyError, ValueError):
        pass  # no Linux, or no such group
    return free
