"""timm's VisionTransformer as the backbone: masked patches, kept branches, and weights from the run's seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of, seed63, text_id
from synfarm_trainer.config import ModelConfig

__all__ = ["MEAN", "STD", "Backbone", "build_vit", "init_parameters", "normalise", "timm_arguments"]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def timm_arguments(config: ModelConfig, image_size: int) -> dict[str, Any]:
    """Keyword arguments of timm's class; written beside exported weights so that anyone can build the model again."""
    return {
        "img_size": image_size,
        "patch_size": config.patch,
        "embed_dim": config.width,
        "depth": config.depth,
        "num_heads": config.heads,
        "mlp_ratio": config.mlp_ratio,
        "num_classes": 0,
        "global_pool": "token",
        "dynamic_img_size": True,
    }


class Backbone(VisionTransformer):
    """timm's class with the same parameters; :meth:`tokens` is what training needs beside its ``forward``."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters, and so of the images that it takes."""
        found: torch.dtype = self.patch_embed.proj.weight.dtype
        return found

    def tokens(
        self,
        images: Tensor,
        *,
        masks: Tensor | None = None,
        mask_token: Tensor | None = None,
        visible: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """(n, 3, H, W) to (n, 1 + patches, width): class token and patches after the final norm.

        Another size than the one it was built for takes resampled positions (timm's bicubic, to the grid's size).

        Args:
            masks: (n, patches) bool; embeddings of these patches are replaced by ``mask_token`` (1, width) before
                positions are added.
            visible: (n, patches) bool, as many in every row; only these go through the blocks and come out, in order
                (MAE).
            kept: (n, depth, 2) bool; crops that go through a block's attention and its MLP. The others skip the branch,
                and nothing is computed for them; what is kept weighs more by the inverse of its share.
        """
        x: Tensor = self.patch_embed(images)
        if masks is not None and mask_token is not None:
            x = torch.where(masks.view(*x.shape[:3], 1), mask_token.to(x.dtype), x)
        x = self._pos_embed(x)
        if visible is not None:
            x = torch.cat([x[:, :1], x[:, 1:][visible].view(len(x), -1, x.shape[2])], dim=1)
        for number, block in enumerate(self.blocks):
            branches = (
                lambda y, block=block: block.ls1(block.attn(block.norm1(y))),
                lambda y, block=block: block.ls2(block.mlp(block.norm2(y))),
            )
            for which, branch in enumerate(branches):
                x = _add_branch(x, branch, None if kept is None else kept[:, number, which])
        normed: Tensor = self.norm(x)
        return normed


def _add_branch(x: Tensor, branch: Callable[[Tensor], Tensor], kept: Tensor | None) -> Tensor:
    """Residual connection of the kept rows; the branch's mean over rows stays what it is without dropping."""
    if kept is None:
        return x + branch(x)
    rows = kept.nonzero().squeeze(1)
    return x.index_add(0, rows, branch(x.index_select(0, rows)), alpha=len(x) / len(rows))


def build_vit(config: ModelConfig, image_size: int) -> Backbone:
    """(n, 3, H, W) to (n, width): the class token after the final norm. Weights are not initialised to any use."""
    return Backbone(**timm_arguments(config, image_size), weight_init="skip")


def normalise(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """(n, H, W, 3) bytes to (n, 3, H, W), standardised by the usual ImageNet statistics (method section 3.2)."""
    mean = torch.tensor(MEAN, dtype=dtype, device=pixels.device)
    std = torch.tensor(STD, dtype=dtype, device=pixels.device)
    return ((pixels.to(dtype) / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def init_parameters(module: nn.Module, seed: int, linear_std: float = 0.02) -> None:
    """Every parameter from its own generator, keyed by (seed, name): no global state, no order of construction.

    Linear weights truncated normal ``linear_std``, positions and prototypes .02, class token normal 1e-6, mask token
    normal .02, biases 0, norms and gains 1, convolutions as the framework has them (method sections 3.3 and 3.4).
    """
    key = key_of(seed, Purpose.INIT)
    for prefix, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            generator = torch.Generator().manual_seed(seed63(bits(key, text_id(f"{prefix}.{name}"))))
            if isinstance(part, nn.LayerNorm):
                parameter.fill_(1.0 if name == "weight" else 0.0)
            elif isinstance(part, nn.Conv2d):
                bound = 1 / math.sqrt(part.weight[0].numel())
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            elif name == "bias":
                parameter.zero_()
            elif name == "gain":
                parameter.fill_(1.0)
            elif name in {"cls_token", "mask_token"}:
                nn.init.normal_(parameter, std=1e-6 if name == "cls_token" else 0.02, generator=generator)
            else:
                std = linear_std if isinstance(part, nn.Linear) else 0.02
                nn.init.trunc_normal_(parameter, std=std, generator=generator)
