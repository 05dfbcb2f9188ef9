"""The encoder, which sees visible patches only, and the light decoder that paints the others."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from synfarm_trainer.config import MaeConfig, TrainConfig
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

    def forward(self, tokens: Tensor, masks: Tensor) -> Tensor:
        """
        Args:
            masks: (n, patches) bool, hidden from the encoder.
        """
        seen = self.embed(tokens)
        # Masks say where the visible ones go; the rest is the mask token.
        patches = self.mask_token.to(seen.dtype).expand(*masks.shape, -1)
        patches = patches.masked_scatter(~masks[..., None], seen[:, 1:])
        x = torch.cat([seen[:, :1], patches], dim=1) + self.positions
        x = self.norm(self.blocks(x))
        painted: Tensor = self.predict(x[:, 1:][masks])
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
            masks: (n, patches) bool: hidden, as many in every image.
            kept: (n, depth, 2) bool, for stochastic depth of the encoder.
        """
        tokens = self.backbone.tokens(images, visible=~masks, kept=kept)
        return self.decoder(tokens, masks), tokens[:, 0]
