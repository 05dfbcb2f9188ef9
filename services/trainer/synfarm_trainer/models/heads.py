"""The heads on top of the backbone (method section 3.4)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from synfarm_trainer.models.batch_norm import Among, BatchNorm

__all__ = ["MlpHead", "PatchHead", "mlp_head"]


class MlpHead(nn.Sequential):
    """Layers one after another; those with batch statistics are told whose."""

    def forward(self, x: Tensor, among: Among | None = None) -> Tensor:
        """(n, width) to (n, out).

        Args:
            among: None outside of training.
        """
        for layer in self:
            x = layer(x, among) if isinstance(layer, BatchNorm) else layer(x)
        return x


def mlp_head(
    width: int,
    hidden: int,
    out: int,
    *,
    hidden_layers: int,
    norm: Literal["layer", "batch"] = "layer",
    by_view: bool = True,
    last_norm: bool = True,
) -> MlpHead:
    """(n, width) to (n, out); the projector has two hidden layers, the predictor one.

    ``layer``, as SynCLR's release: ``hidden_layers`` of linear, LayerNorm, GELU; then linear without bias, bare
    LayerNorm. ``batch``, as MoCo v3: linear without bias, BatchNorm, ReLU; then linear without bias, bare BatchNorm.

    Args:
        by_view: as of :class:`~synfarm_trainer.models.batch_norm.BatchNorm`.
        last_norm: of ``batch``: False for StableRep's, a last linear with bias and no norm.
    """
    layers: list[nn.Module] = []
    for place in range(hidden_layers):
        before = hidden if place else width
        if norm == "layer":
            layers += [nn.Linear(before, hidden), nn.LayerNorm(hidden), nn.GELU()]
        else:
            layers += [nn.Linear(before, hidden, bias=False), BatchNorm(hidden, by_view=by_view), nn.ReLU()]
    if norm == "layer":
        return MlpHead(*layers, nn.Linear(hidden, out, bias=False), nn.LayerNorm(out, elementwise_affine=False))
    if last_norm:
        return MlpHead(*layers, nn.Linear(hidden, out, bias=False), BatchNorm(out, affine=False, by_view=by_view))
    return MlpHead(*layers, nn.Linear(hidden, out))


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
