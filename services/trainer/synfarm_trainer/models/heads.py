"""The heads on top of the backbone (method section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PatchHead", "mlp_head"]


def mlp_head(width: int, hidden: int, out: int, *, hidden_layers: int) -> nn.Sequential:
    """(n, width) to (n, out): ``hidden_layers`` of linear, LayerNorm, GELU; then linear without bias, bare LayerNorm.

    The projector has two hidden layers, the predictor one. LayerNorm as in the release; the paper's have BatchNorm.
    """
    layers: list[nn.Module] = []
    for place in range(hidden_layers):
        layers += [nn.Linear(hidden if place else width, hidden), nn.LayerNorm(hidden), nn.GELU()]
    layers += [nn.Linear(hidden, out, bias=False), nn.LayerNorm(out, elementwise_affine=False)]
    return nn.Sequential(*layers)


class PatchHead(nn.Module):
    """(n, width) patch or class tokens to (n, prototypes) logits: DINO's head.

    Three linear layers with GELU between them; then gain times the cosine with each prototype. No norm between the
    layers, as published (DINO's ``use_bn`` is off).
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, prototypes: int, *, train_gain: bool = True) -> None:
        """
        Args:
            train_gain: whether the gains are learned; else they stay 1 (DINO's ``norm_last_layer``).
        """
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        self.gain = nn.Parameter(torch.ones(prototypes, 1), requires_grad=train_gain)
        self._train_gain = train_gain

    def let_last_layer_move(self, move: bool) -> None:
        """Whether prototypes, and gains if they are learned at all, take a gradient from now on."""
        self.prototypes.requires_grad_(move)
        self.gain.requires_grad_(move and self._train_gain)

    def embed(self, tokens: Tensor) -> Tensor:
        """(n, width) to (n, bottleneck), normalised: all of a token that the prototypes see."""
        return functional.normalize(self.mlp(tokens), dim=-1)

    def compared(self) -> Tensor:
        """(prototypes, bottleneck): what an embedded token is compared with, gains times directions."""
        return self.gain * functional.normalize(self.prototypes, dim=-1)

    def compare(self, embedded: Tensor) -> Tensor:
        """(n, bottleneck) to (n, prototypes)."""
        return functional.linear(embedded, self.compared())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.compare(self.embed(tokens))
