"""CLIP's text tower: a causal transformer whose feature stands where the text ends (Radford et al. 2021, 2.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["TextTower"]


class _Block(nn.Module):
    """Attention to what came before, then an MLP of four times the width with QuickGELU; each after its norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        packed = self.qkv(self.norm1(x)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(rows, length, width))
        risen = self.rise(self.norm2(x))
        found: Tensor = x + self.fall(risen * torch.sigmoid(1.702 * risen))
        return found


class TextTower(nn.Module):
    """(m, context) tokens to (m, width) features. No token sees what comes after it, so padding changes nothing."""

    def __init__(self, width: int, depth: int, heads: int, *, context: int, vocabulary: int, end: int) -> None:
        """
        Args:
            end: the token, once in each text, at whose place the feature is taken.
        """
        super().__init__()
        self.end = end
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm(self.blocks(self.tokens(tokens) + self.positions))
        ends = (tokens == self.end).long().argmax(dim=1)
        found: Tensor = x[torch.arange(len(x), device=x.device), ends]
        return found

    @torch.no_grad()
    def scale_weights(self, linear_std: float) -> None:
        """From the seed's weights, of ``linear_std`` (positions 0.02), to those of the release, which go by width."""
        width, depth = self.positions.shape[1], len(self.blocks)
        self.positions.mul_(0.01 / 0.02)
        into_stream = (2 * depth * width) ** -0.5
        for name, part in self.blocks.named_modules():
            if isinstance(part, nn.Linear):
                which = name.rpartition(".")[2]
                std = {"qkv": width**-0.5, "rise": (2 * width) ** -0.5}.get(which, into_stream)
                part.weight.mul_(std / linear_std)
