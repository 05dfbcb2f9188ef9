"""timm's ViTs by name: the arguments that build one, and which names can be trained."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from synfarm_trainer.config.checks import need

__all__ = ["SIZES", "named_arguments"]

SIZES: Mapping[str, str] = MappingProxyType(
    {
        "patch": "patch_size",
        "width": "embed_dim",
        "depth": "depth",
        "heads": "num_heads",
        "mlp_ratio": "mlp_ratio",
    }
)
"""Fields of the section ``model`` that a name settles, with the argument that each is."""
_CURE = "name a plain ViT with a class token, such as vit_small_patch16_224 or vit_base_patch14_reg4_dinov2"


def named_arguments(name: str) -> dict[str, Any]:
    """Arguments of timm's ``VisionTransformer`` beside image size, classes and pooling: plain values.

    They are read from the model of that name, built without memory; what they build must have the same layers, to the
    letter of its ``repr``, and the same parameters. Whatever is built of other parts is refused.

    Raises:
        ValueError: timm has no such model, or it cannot be trained here; the message begins with ``model.timm``.
    """
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models("*vit*"), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else _CURE
        raise ValueError(f"model.timm: timm has no model {name!r}; {hint}")
    with torch.device("meta"):
        model: Any = timm.create_model(name, pretrained=False)
    kind = type(model).__name__
    need(type(model) is VisionTransformer, "model.timm", f"{name} is of timm's class {kind}, not offered; {_CURE}")
    need(model.has_class_token, "model.timm", f"{name} has no class token; {_CURE}")
    model.reset_classifier(0, "token")
    arguments = _read(model)
    with torch.device("meta"):
        again = VisionTransformer(
            **arguments, img_size=model.patch_embed.img_size, num_classes=0, global_pool="token", weight_init="skip"
        )
    same = repr(again) == repr(model) and _shapes(again) == _shapes(model)
    need(same, "model.timm", f"{name} has layers that are not offered; {_CURE}")
    return arguments


def _read(model: VisionTransformer) -> dict[str, Any]:
    """The arguments that show in the model; a wrong guess shows when they are compared."""
    block, (patch, _) = model.blocks[0], model.patch_embed.patch_size
    hidden = getattr(getattr(getattr(block, "mlp", None), "fc1", None), "out_features", model.embed_dim)
    attention = getattr(block, "attn", None)
    scale = getattr(block, "ls1", None)
    return {
        "patch_size": patch,
        "embed_dim": model.embed_dim,
        "depth": len(model.blocks),
        "num_heads": getattr(attention, "num_heads", 1),
        "mlp_ratio": hidden / model.embed_dim,
        "qkv_bias": getattr(getattr(attention, "qkv", None), "bias", None) is not None,
        "qk_norm": not isinstance(getattr(attention, "q_norm", None), nn.Identity | None),
        "init_values": getattr(scale, "init_values", None),
        "no_embed_class": model.no_embed_class,
        "reg_tokens": model.num_reg_tokens,
    }


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}
