"""Named tensors into a backbone: those that fit, positions brought to its grid, and word of all others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from synfarm_trainer.models.vit import Backbone

__all__ = ["fit"]

_OF_CHECKPOINT = "backbone."
_POSITIONS = "pos_embed"


@torch.no_grad()
def fit(backbone: Backbone, tensors: Mapping[str, Tensor], name: str) -> dict[str, Any]:
    """Copy what has the name and the shape of one of the backbone's tensors.

    Args:
        tensors: by timm's names; of a checkpoint's the ones below ``backbone.``.
        name: of the weights, for errors.

    Returns:
        ``loaded``, a count; ``resampled``, whether positions were; names that are ``missing`` and ``unexpected``;
        ``mismatched``, by name their shape and ours.

    Raises:
        ValueError: no weight of a block fits, or a value is not finite; the message has field and cure.
    """
    inner = {
        key.removeprefix(_OF_CHECKPOINT): value for key, value in tensors.items() if key.startswith(_OF_CHECKPOINT)
    }
    given = inner or dict(tensors)
    own = backbone.state_dict()
    fitting: dict[str, Tensor] = {}
    mismatched: dict[str, list[list[int]]] = {}
    for key, mine in own.items():
        if (theirs := given.get(key)) is None:
            continue
        if key == _POSITIONS and theirs.shape != mine.shape:
            theirs = _resampled(backbone, theirs)
        if theirs.shape == mine.shape:
            fitting[key] = theirs
        else:
            mismatched[key] = [list(given[key].shape), list(mine.shape)]
    if not any(key.startswith("blocks.") for key in fitting):
        raise ValueError(f"model.init_from: nothing of {name} fits this network; {_cure(given)}")
    for key, theirs in fitting.items():
        if not bool(theirs.isfinite().all()):
            raise ValueError(f"model.init_from: {key} of {name} has values that are not finite; name other weights")
        own[key].copy_(theirs)
    beside = [key for key in tensors if inner and not key.startswith(_OF_CHECKPOINT)]
    return {
        "loaded": len(fitting),
        "resampled": _POSITIONS in fitting and given[_POSITIONS].shape != own[_POSITIONS].shape,
        "missing": [key for key in own if key not in given],
        "unexpected": sorted([key for key in given if key not in own] + beside),
        "mismatched": mismatched,
    }


def _resampled(backbone: Backbone, positions: Tensor) -> Tensor:
    """(1, prefix + n, width) for the backbone's grid, by the same bicubic as its own for crops of another size.

    What cannot be a square grid comes back as it is.
    """
    prefix = backbone.num_prefix_tokens
    side = math.isqrt(max(0, positions.shape[1] - prefix)) if positions.ndim == 3 else 0
    if not side or side * side != positions.shape[1] - prefix:
        return positions
    rows, columns = backbone.patch_embed.grid_size
    found: Tensor = resample_abs_pos_embed(
        positions, new_size=[rows, columns], old_size=[side, side], num_prefix_tokens=prefix
    )
    return found


def _cure(given: Mapping[str, Tensor]) -> str:
    """The fields that would make them fit, as far as the shapes tell."""
    depth = len({key.split(".")[1] for key in given if key.startswith("blocks.") and key.count(".") > 1})
    patches = given.get("patch_embed.proj.weight")
    if not depth or patches is None or patches.ndim != 4:
        return "it is no ViT with timm's names; name other weights"
    return f"set model.width to {patches.shape[0]}, model.depth to {depth}, model.patch to {patches.shape[-1]}"
