"""The multi-positive loss without its anchors x keys logits: tile by tile, and again tile by tile on the way back.

Of the paper's batch (32,768 keys) the logits of one rank's anchors are gigabytes, and autograd keeps several of that
size. Here a tile lives as long as it is summed up; what stays are two numbers an anchor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synfarm_trainer.losses.multi_positive import NoPositive
from synfarm_trainer.losses.opaque import opaque
from synfarm_trainer.losses.precision import exact_products, precise

__all__ = ["multi_positive_loss_in_tiles"]


@opaque
def multi_positive_loss_in_tiles(
    anchors: Tensor,
    keys: Tensor,
    anchor_labels: Tensor,
    key_labels: Tensor,
    own: Tensor,
    temperature: float | Tensor,
    *,
    tile: tuple[int, int] = (1024, 8192),
) -> Tensor:
    """:func:`~synfarm_trainer.losses.multi_positive.multi_positive_loss`, whose arguments it takes, in little memory.

    Same value and same gradients (of anchors, keys and temperature) but for the order of sums, which the shapes alone
    decide. The logits are computed twice.

    Args:
        tile: anchors and keys whose logits are held at once.

    Returns:
        (A,) losses of at least float32.

    Raises:
        NoPositive: some anchor has no positive left.
    """
    scaled = precise(anchors) / temperature
    common = torch.promote_types(scaled.dtype, keys.dtype)
    labels = anchor_labels, key_labels, own
    losses: Tensor = _Tiles.apply(scaled.to(common), keys.to(common), *labels, tile)
    return losses


class _Tiles(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        keys: Tensor,
        anchor_labels: Tensor,
        key_labels: Tensor,
        own: Tensor,
        tile: tuple[int, int],
    ) -> Tensor:
        rows, columns = tile
        normaliser = anchors.new_full((len(anchors),), -torch.inf)
        attracted = anchors.new_zeros(len(anchors))
        count = torch.zeros_like(anchor_labels)
        for a in _cuts(len(anchors), rows):
            for k in _cuts(len(keys), columns):
                logits, positive = _tile(anchors[a], keys[k], anchor_labels[a], key_labels[k], own[a] - k.start)
                normaliser[a] = torch.logaddexp(normaliser[a], logits.logsumexp(dim=1))
                count[a] += positive.sum(dim=1)
                attracted[a] += logits.masked_fill_(~positive, 0).sum(dim=1)
        if not bool((count > 0).all()):
            raise NoPositive
        ctx.save_for_backward(anchors, keys, anchor_labels, key_labels, own, normaliser, count)
        ctx.tile = tile
        return normaliser - attracted / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        anchors, keys, anchor_labels, key_labels, own, normaliser, count = ctx.saved_tensors
        rows, columns = ctx.tile
        of_anchors, of_keys = (
            torch.zeros_like(x) if ctx.needs_input_grad[i] else None for i, x in ((0, anchors), (1, keys))
        )
        pull = (grad / count)[:, None]
        for a in _cuts(len(anchors), rows):
            for k in _cuts(len(keys), columns):
                logits, positive = _tile(anchors[a], keys[k], anchor_labels[a], key_labels[k], own[a] - k.start)
                share = logits.sub_(normaliser[a, None]).exp_().mul_(grad[a, None])
                share.sub_(positive * pull[a])
                with exact_products(share):
                    if of_anchors is not None:
                        of_anchors[a].addmm_(share, keys[k])
                    if of_keys is not None:
                        of_keys[k].addmm_(share.T, anchors[a])
        return of_anchors, of_keys, None, None, None, None


def _tile(
    anchors: Tensor, keys: Tensor, anchor_labels: Tensor, key_labels: Tensor, own: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits (a, k), -inf where a key is the anchor's own; and which are positive."""
    with exact_products(anchors):
        logits = anchors @ keys.T
    left_out = torch.arange(len(keys), device=keys.device) == own[:, None]
    positive = (anchor_labels[:, None] == key_labels) & ~left_out
    return logits.masked_fill_(left_out, -torch.inf), positive


def _cuts(length: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
