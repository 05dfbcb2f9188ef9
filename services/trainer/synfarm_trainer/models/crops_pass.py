"""Crops of several sizes through a block at once: as one row of tokens, apart only where tokens see each other.

Norms, projections and MLPs look at a token alone, so they take the tokens of all crops in one call; attention is called
once for each size, without masks. Fewer and larger products, for the same values as one pass for each size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Crops", "Sizes", "Through", "block_pass", "pack", "through_branches", "unpack"]

Sizes = tuple[tuple[int, int], ...]
"""(crops, tokens of a crop) of each size, in the order in which they are packed."""


class Crops(NamedTuple):
    """Crops of one size."""

    images: Tensor
    """(n, 3, H, W)"""
    masks: Tensor | None = None
    """(n, patches) bool: patches whose embedding is replaced by the mask token."""
    kept: Tensor | None = None
    """(n, depth, 2) bool: crops that go through a block's attention and its MLP; None for all."""


class Through(NamedTuple):
    """What goes through a branch where some crops skip it."""

    rows: Tensor
    """(m,) places of the tokens in the packed row, crop by crop."""
    weights: Tensor
    """(m, 1): by what they weigh more, the inverse share of the crops that are kept of their size."""
    sizes: Sizes
    """Of what is kept."""


def pack(tokens: Sequence[Tensor]) -> tuple[Tensor, Sizes]:
    """(n, t, width) of each size to (sum of n * t, width)."""
    sizes = tuple((part.shape[0], part.shape[1]) for part in tokens)
    flat = [part.flatten(0, 1) for part in tokens]
    return flat[0] if len(flat) == 1 else torch.cat(flat), sizes


def unpack(x: Tensor, sizes: Sizes) -> list[Tensor]:
    """The reverse of :func:`pack`: views."""
    parts = torch.split(x, [crops * length for crops, length in sizes])
    return [part.view(crops, length, -1) for part, (crops, length) in zip(parts, sizes, strict=True)]


def through_branches(
    kept: Sequence[Tensor | None], sizes: Sizes, like: Tensor, depth: int
) -> list[tuple[Through | None, Through | None]]:
    """For each block who goes through its attention and who through its MLP; None for all.

    Counts are needed on the host. So what is kept is read there, at best from where the host has it, and the chosen
    crops of all branches go to the device in one piece.

    Args:
        kept: of each size, as in :class:`Crops`.
        like: what is packed; gives device and precision.
    """
    if all(part is None for part in kept):
        return [(None, None)] * depth
    host = [
        torch.ones(crops, depth, 2, dtype=torch.bool) if part is None else part.cpu()
        for part, (crops, _) in zip(kept, sizes, strict=True)
    ]
    # By block, branch, size: (chosen crops,).
    chosen = [
        part[:, block, which].nonzero().squeeze(1) for block in range(depth) for which in range(2) for part in host
    ]
    moved = torch.cat(chosen).to(like.device, non_blocking=True)
    sent = torch.split(moved, [len(rows) for rows in chosen])
    steps = [torch.arange(length, device=like.device) for _, length in sizes]
    branches = [_through(sent[i : i + len(sizes)], sizes, steps, like) for i in range(0, len(sent), len(sizes))]
    return list(zip(branches[0::2], branches[1::2], strict=True))


def _through(chosen: Sequence[Tensor], sizes: Sizes, steps: Sequence[Tensor], like: Tensor) -> Through:
    """``chosen``: of each size, the crops that are kept."""
    rows, weights, first = [], [], 0
    precision = torch.promote_types(like.dtype, torch.float32)
    for crops, (count, length), step in zip(chosen, sizes, steps, strict=True):
        rows.append((crops[:, None] * length + (first + step)).flatten())
        share = count / max(1, len(crops))
        weights.append(torch.full((len(crops) * length, 1), share, dtype=precision, device=like.device))
        first += count * length
    left = tuple((len(crops), length) for crops, (_, length) in zip(chosen, sizes, strict=True))
    return Through(torch.cat(rows), torch.cat(weights), left)


def block_pass(block: nn.Module, x: Tensor, sizes: Sizes, attention: Through | None, mlp: Through | None) -> Tensor:
    """(tokens, width) through timm's pre-norm block, both branches; nothing is computed for crops that skip one.

    Args:
        x: packed tokens of ``sizes``.
        attention, mlp: who goes through the branch; None for all.
    """
    parts: Any = block
    chosen, left = (x, sizes) if attention is None else (x.index_select(0, attention.rows), attention.sizes)
    x = _add(x, parts.ls1(_attend(parts.attn, parts.norm1(chosen), left)), attention)
    chosen = x if mlp is None else x.index_select(0, mlp.rows)
    return _add(x, parts.ls2(parts.mlp(parts.norm2(chosen))), mlp)


def _add(x: Tensor, found: Tensor, through: Through | None) -> Tensor:
    """Residual connection; the branch's mean over the crops of a size stays what it is without dropping."""
    if through is None:
        return x + found
    return x.index_add(0, through.rows, (found * through.weights).to(x.dtype))


def _attend(attention: Any, x: Tensor, sizes: Sizes) -> Tensor:
    """timm's attention with its projections over all tokens at once."""
    seen = []
    for part in unpack(attention.qkv(x), sizes):
        crops, length, _ = part.shape
        packed = part.view(crops, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = packed.unbind(0)
        found = functional.scaled_dot_product_attention(attention.q_norm(query), attention.k_norm(key), value)
        seen.append(found.transpose(1, 2).reshape(crops * length, -1))
    joined: Tensor = attention.proj(attention.norm(seen[0] if len(seen) == 1 else torch.cat(seen)))
    return joined
