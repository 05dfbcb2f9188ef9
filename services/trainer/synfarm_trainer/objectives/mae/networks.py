"""The encoder, which sees visible patches only, and the light decoder that paints the others."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from synfarm_trainer.config import MaeConfig, TrainConfig
from synfarm_trainer.models.places import chosen_patches, places_of
from synfarm_trainer.models.vit import build_vit

__all__ = ["Decoder", "MaeStudent"]


class Decoder(nn.Module):
    """(n, 1 + visible, width) of the encoder to (t, pixels) of the t hidden patches, image by image."""

    def __init__(self, config: TrainConfig, section: MaeConfig) -> None:
        super().__init__()
        width, heads = section.decoder_size(config.model)
        self.embed = nn.Linear(config.model.width, width)
        self.mask_token = nn.Parameter(torch.empty(1, width))
        self.positions = nn.Parameter(torch.empty(1 + config.patches, width))
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(section.decoder_depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.predict = nn.Linear(width, 3 * config.model.patch**2)

    def forward(self, tokens: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """
        Args:
            visible, hidden: (v,) and (t,) places of patches.
        """
        seen = self.embed(tokens)
        count, length = len(tokens), len(self.positions)
        # All are the mask token but for the visible ones.
        patches = self.mask_token.to(seen.dtype).expand(count * (length - 1), -1)
        patches = patches.index_copy(0, visible, seen[:, 1:].flatten(0, 1)).view(count, length - 1, -1)
        x = torch.cat([seen[:, :1], patches], dim=1) + self.positions
        x = self.norm(self.blocks(x))
        painted: Tensor = self.predict(chosen_patches(x, hidden))
        return painted


class MaeStudent(nn.Module):
    def __init__(self, config: TrainConfig, section: MaeConfig) -> None:
        super().__init__()
        self.backbone = build_vit(config.model, config.augment.size)
        self.decoder = Decoder(config, section)

    def forward(self, images: Tensor, masks: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(t, pixels) painted of the t hidden patches, image by image; and (n, width) class tokens.

        Args:
            images: (n, 3, H, W).
            masks: (n, patches) bool, on the host: hidden, as many in every image.
            kept: (n, depth, 2) bool, for stochastic depth of the encoder.
        """
        visible, hidden = places_of(~masks, images.device), places_of(masks, images.device)
        tokens = self.backbone.tokens(images, visible=visible, kept=kept)
        return self.decoder(tokens, visible, hidden), tokens[:, 0]
