"""What ranks exchange, always in rank order, so that a sum has one order of its terms whatever happened before.

torch's DistributedDataParallel is another way to add up gradients (:mod:`synfarm_trainer.parallel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["Ranks"]

_PIECE = 1 << 28
"""Bytes handed out at a time: gloo keeps buffers of the size of a message."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among its peers; with ``world`` 1 no process group is needed."""

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def gather(self, rows: Tensor) -> Tensor:
        """(n, ...) of each rank, equal n, as (world * n, ...) in rank order; carries no gradient."""
        rows = rows.detach().contiguous()
        if self.world == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.world)]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    def sum_own(self, rows: Tensor) -> Tensor:
        """(world * n, ...) of each rank to (n, ...): the sum over ranks of the rows that are this rank's, in order."""
        if self.world == 1:
            return rows
        received = torch.empty_like(rows)
        dist.all_to_all_single(received, rows.contiguous())
        parts = received.chunk(self.world)
        total = parts[0].clone()
        for part in parts[1:]:
            total += part
        return total

    def broadcast(self, values: Tensor) -> Tensor:
        """The first rank's values on every rank."""
        if self.world > 1:
            dist.broadcast(values, src=0)
        return values

    def hand_out(self, data: bytes | None, size: int, source: int) -> bytes:
        """The ``size`` bytes that rank ``source`` has, on every rank; ``data`` is theirs there and None elsewhere."""
        if data is None:
            buffer = bytearray(size)
        elif self.world == 1:
            return data
        else:
            buffer = bytearray(data)
        whole = torch.frombuffer(buffer, dtype=torch.uint8)
        for piece in torch.split(whole, _PIECE):
            dist.broadcast(piece, src=source)
        return bytes(buffer) if data is None else data

    def sum(self, flat: Tensor) -> Tensor:
        """(n,) of each rank to their sum on every rank, added in rank order.

        Each rank adds up one piece and hands it to all: the traffic of a ring all-reduce.
        """
        if self.world == 1:
            return flat
        size = len(flat)
        piece = -(-size // self.world)
        padded = torch.nn.functional.pad(flat, (0, piece * self.world - size))
        return self.gather(self.sum_own(padded))[:size]

    def backward(self, roots: Sequence[Tensor], gradients: Sequence[Tensor] | None = None, *, last: bool) -> None:
        """Add a micro-batch's part to the gradients of the parameters that ``roots`` depend on.

        Args:
            roots: results of operations, never parameters themselves.
            gradients: of the loss in each of the roots; None for roots that are losses.
            last: no other backward of this step follows; a way to add up may begin with it.
        """
        torch.autograd.backward(roots, gradients)

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Replace each gradient by the sum over ranks, added in rank order; the flat sum is returned."""
        flat = torch.cat([p.grad.reshape(-1) if p.grad is not None else p.new_zeros(p.numel()) for p in parameters])
        flat = self.sum(flat)
        offset = 0
        for parameter in parameters:
            count = parameter.numel()
            parameter.grad = flat[offset : offset + count].view_as(parameter)
            offset += count
        return flat
