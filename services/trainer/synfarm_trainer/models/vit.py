"""timm's VisionTransformer as the backbone: masked patches, kept branches, and weights from the run's seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from timm.layers.layer_scale import LayerScale
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of, seed63, text_id
from synfarm_trainer.config import ModelConfig
from synfarm_trainer.config.checks import need
from synfarm_trainer.models.batch_norm import BatchNorm
from synfarm_trainer.models.block_passes import BlockPasses
from synfarm_trainer.models.crops_pass import Crops, pack, through_branches, unpack
from synfarm_trainer.models.places import chosen_patches
from synfarm_trainer.models.positions import release_positions
from synfarm_trainer.models.timm_names import SIZES, named_arguments

__all__ = ["MEAN", "STD", "Backbone", "build_vit", "init_parameters", "normalise", "run_blocks", "timm_arguments"]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def timm_arguments(config: ModelConfig, image_size: int) -> dict[str, Any]:
    """Keyword arguments of timm's class; written beside exported weights so that anyone can build the model again.

    Raises:
        ValueError: timm's model of that name cannot be trained, or has other sizes than the configuration.
    """
    arguments = {argument: getattr(config, field) for field, argument in SIZES.items()}
    if config.timm:
        named = named_arguments(config.timm)
        for field, argument in SIZES.items():
            has = f"{config.timm} has {named[argument]}; leave it out, or set model.timm to ''"
            need(arguments[argument] == named[argument], f"model.{field}", has)
        arguments = named
    return {
        "img_size": image_size,
        **arguments,
        "num_classes": 0,
        "global_pool": "token",
        "dynamic_img_size": True,
    }


class Backbone(VisionTransformer):
    """timm's class with the same parameters; :meth:`tokens` is what training needs beside its ``forward``."""

    passes = BlockPasses()
    """How its blocks are run: as written, until a run has its own."""

    def __init__(self, *, positions: str = "resample", **arguments: Any) -> None:
        """
        Args:
            positions: on grids of another size than the first, as of ``model.positions``.
            arguments: of timm's class.
        """
        super().__init__(**arguments)
        self._positions = positions

    def _pos_embed(self, x: Tensor) -> Tensor:
        """(n, rows, columns, width) patches to (n, prefix + patches, width), with positions."""
        if self._positions == "resample":
            resampled: Tensor = super()._pos_embed(x)
            return resampled
        assert self.pos_embed is not None
        found = release_positions(self.pos_embed, self.patch_embed.grid_size, (x.shape[1], x.shape[2]))
        patches = x.flatten(1, 2)
        if self.no_embed_class:
            patches = patches + found
        before = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token) if token is not None]
        tokens = torch.cat([*before, patches], dim=1)
        return tokens if self.no_embed_class else tokens + found

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters, and so of the images that it takes."""
        found: torch.dtype = self.patch_embed.proj.weight.dtype
        return found

    @property
    def device(self) -> torch.device:
        """Of the parameters, and so of the images that it takes."""
        found: torch.device = self.patch_embed.proj.weight.device
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
        """(n, 3, H, W) to (n, 1 + patches, width): class token and patches after the final norm, row by row.

        Another size than the one it was built for takes resampled positions (``model.positions``). Register tokens go
        through the blocks between class token and patches, and do not come out.

        Args:
            masks: (n, patches) bool; embeddings of these patches are replaced by ``mask_token`` (1, width) before
                positions are added.
            visible: (v,) places of patches as :func:`~synfarm_trainer.models.places.places_of` has them, as many in
                every row; only these go through the blocks and come out, in order (MAE).
            kept: (n, depth, 2) bool; crops that go through a block's attention and its MLP. The others skip the branch,
                and nothing is computed for them; what is kept weighs more by the inverse of its share.
        """
        x = self._embed(images, masks, mask_token)
        if visible is not None:
            first = self.num_prefix_tokens
            seen = chosen_patches(x[:, first - 1 :], visible)
            x = torch.cat([x[:, :first], seen.view(len(x), -1, x.shape[2])], dim=1)
        return self._through_blocks([x], [kept])[0]

    def tokens_of(self, crops: Sequence[Crops], mask_token: Tensor | None = None) -> list[Tensor]:
        """:meth:`tokens` of crops of several sizes in one pass: the same values, each size with its own shape."""
        embedded = [self._embed(each.images, each.masks, mask_token) for each in crops]
        return self._through_blocks(embedded, [each.kept for each in crops])

    def _embed(self, images: Tensor, masks: Tensor | None, mask_token: Tensor | None) -> Tensor:
        """What enters the first block."""
        x: Tensor = self.patch_embed(images)
        if masks is not None and mask_token is not None:
            x = torch.where(masks.view(*x.shape[:3], 1), mask_token.to(x.dtype), x)
        embedded: Tensor = self._pos_embed(x)
        return embedded

    def _through_blocks(self, tokens: Sequence[Tensor], kept: Sequence[Tensor | None]) -> list[Tensor]:
        """Blocks and final norm of tokens of each size; registers do not come out."""
        x, sizes = pack(tokens)
        for block, branches in zip(self.blocks, through_branches(kept, sizes, x, len(self.blocks)), strict=True):
            x = self.passes(block, x, sizes, *branches)
        return [self._without_registers(part) for part in unpack(self.norm(x), sizes)]

    def _without_registers(self, x: Tensor) -> Tensor:
        """(n, prefix + patches, width) to (n, 1 + patches, width)."""
        return torch.cat([x[:, :1], x[:, self.num_prefix_tokens :]], dim=1) if self.num_reg_tokens else x


def run_blocks(passes: BlockPasses, *networks: nn.Module | None) -> None:
    """Let every backbone of ``networks`` run its blocks so."""
    for network in networks:
        for part in [] if network is None else network.modules():
            if isinstance(part, Backbone):
                part.passes = passes


def build_vit(config: ModelConfig, image_size: int) -> Backbone:
    """(n, 3, H, W) to (n, width): the class token after the final norm. Weights are not initialised to any use.

    Raises:
        ValueError: as of :func:`timm_arguments`.
    """
    return Backbone(**timm_arguments(config, image_size), positions=config.positions, weight_init="skip")


def normalise(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """(n, H, W, 3) bytes to (n, 3, H, W), standardised by the usual ImageNet statistics (method section 3.2)."""
    mean = torch.tensor(MEAN, dtype=dtype, device=pixels.device)
    std = torch.tensor(STD, dtype=dtype, device=pixels.device)
    return ((pixels.to(dtype) / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def init_parameters(module: nn.Module, seed: int, linear_std: float = 0.02) -> None:
    """Every parameter from its own generator, keyed by (seed, name): no global state, no order of construction.

    Linear weights truncated normal ``linear_std``, positions and prototypes .02, class and register tokens normal 1e-6,
    mask token normal .02, biases 0, norms and gains 1, layer scales as timm has them, convolutions as the framework has
    them (method sections 3.3 and 3.4).
    """
    key = key_of(seed, Purpose.INIT)
    for prefix, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            generator = torch.Generator().manual_seed(seed63(bits(key, text_id(f"{prefix}.{name}"))))
            if isinstance(part, nn.LayerNorm | BatchNorm):
                parameter.fill_(1.0 if name == "weight" else 0.0)
            elif isinstance(part, nn.Conv2d):
                bound = 1 / math.sqrt(part.weight[0].numel())
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            elif name == "bias":
                parameter.zero_()
            elif name == "gain":
                parameter.fill_(1.0)
            elif isinstance(part, LayerScale):
                parameter.fill_(part.init_values)
            elif name in {"cls_token", "reg_token", "mask_token"}:
                nn.init.normal_(parameter, std=0.02 if name == "mask_token" else 1e-6, generator=generator)
            else:
                std = linear_std if isinstance(part, nn.Linear) else 0.02
                nn.init.trunc_normal_(parameter, std=std, generator=generator)
