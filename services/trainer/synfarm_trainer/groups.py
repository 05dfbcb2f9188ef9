"""Which parameters are decayed, and what part of the learning rate each one takes: by name and shape alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from synfarm_trainer.config import OptimConfig

__all__ = ["Group", "is_decayed", "learning_rate_scale", "parameter_groups"]

Group = tuple[bool, float]
"""(decayed, part of the learning rate)."""

_BLOCK = re.compile(r"backbone\.blocks\.(\d+)\.")
_FIRST = ("backbone.cls_token", "backbone.reg_token", "backbone.pos_embed", "backbone.patch_embed.", "mask_token")


def is_decayed(name: str, dimensions: int, rule: str) -> bool:
    """Whether weight decay moves a parameter (method section 3.8, pitfall 23); rules are ``optim.decay_rule``'s.

    Args:
        name: its full name.
        dimensions: of its shape.
    """
    if rule == "release":
        return dimensions >= 2 and not any(part in name for part in ("bias", "ln", "bn"))
    if rule == "dino":
        return dimensions >= 2 and not name.endswith("bias") and "norm" not in name and "gamma" not in name
    return dimensions >= 2 and name.rpartition(".")[2] in {"weight", "prototypes"}


def learning_rate_scale(name: str, depth: int, config: OptimConfig) -> float:
    """``layer_decay ** (depth + 1 - layer)``, as DINOv2 and the paper's fine-tuning have it (method section 5.3).

    Layer 0 are class token, positions, mask token and patch embedding; block b is layer b + 1; the final norm and all
    that is not of the backbone is the last one, ``depth + 1``, which takes the whole learning rate.

    Args:
        depth: blocks of the backbone.
    """
    layer = depth + 1
    if name.startswith(_FIRST):
        layer = 0
    elif found := _BLOCK.match(name):
        layer = int(found[1]) + 1
    scale: float = config.layer_decay ** (depth + 1 - layer)
    return scale * config.patch_embed_scale if name.startswith("backbone.patch_embed.") else scale


def parameter_groups(module: nn.Module, config: OptimConfig) -> dict[Group, list[nn.Parameter]]:
    """Parameters that take a gradient by their group, in order of their names in the module.

    What takes no gradient when the optimiser is built is none of its business: it would be decayed to nothing.
    """
    depth = 1 + max(_block_numbers(module), default=-1)
    groups: dict[Group, list[nn.Parameter]] = {(True, 1.0): [], (False, 1.0): []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decayed = is_decayed(name, parameter.ndim, config.decay_rule)
            scale = learning_rate_scale(name, depth, config)
            groups.setdefault((decayed, scale), []).append(parameter)
    return groups


def _block_numbers(module: nn.Module) -> Iterator[int]:
    return (int(found[1]) for name, _ in module.named_parameters() if (found := _BLOCK.match(name)))
