"""Keys and values of all rows in one tensor that is written in place: no concatenation, rows move by one copy.

Shape letters: L layers, S slots (rows), C capacity in tokens, H key/value heads, D head width, B rows of a pass,
T query tokens of a pass.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

__all__ = ["SlotCache"]


class _SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's part; transformers calls ``update`` in every attention block."""

    def __init__(self, owner: SlotCache, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._owner = owner
        self.keys, self.values = self._keys, self._values = keys, values
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to do: the pool exists."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (B, H, T, D) at the pass's positions and give back views (B, H, width, D) of its rows."""
        at = self._owner
        self._keys.index_put_((at.rows, at.positions), key_states.transpose(1, 2))
        self._values.index_put_((at.rows, at.positions), value_states.transpose(1, 2))
        first, count, width = at.window
        return (
            self._keys[first : first + count, :width].transpose(1, 2),
            self._values[first : first + count, :width].transpose(1, 2),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._owner.window[2], 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self._owner.capacity


class SlotCache(Cache):
    """The pool (L, 2, S, C + 1, H, D). Position C of each slot is scratch, where padding writes; nobody reads it."""

    def __init__(self, config: Any, slots: int, capacity: int, *, dtype: torch.dtype, device: torch.device) -> None:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, 2, slots, capacity + 1, heads, width)
        # zeros, not empty: a masked key has weight 0, and 0 times a left-over NaN is NaN. Unused pages cost nothing.
        self.pool = torch.zeros(shape, dtype=dtype, device=device)
        self.capacity = capacity
        self.window = (0, 0, 0)
        self.rows = torch.zeros(1, 1, dtype=torch.long)
        self.positions = torch.zeros(1, 1, dtype=torch.long)
        super().__init__(layers=[_SlotLayer(self, layer[0], layer[1]) for layer in self.pool])

    def aim(self, first: int, positions_bt: torch.Tensor, width: int) -> None:
        """Set where the next pass writes: rows ``first`` onward, at ``positions_bt``; it reads ``width`` tokens."""
        count = positions_bt.shape[0]
        self.rows = torch.arange(first, first + count, device=positions_bt.device)[:, None]
        self.positions = positions_bt
        self.window = (first, count, width)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of one slot over another."""
        if source != target:
            self.pool[:, :, target, :length] = self.pool[:, :, source, :length]

    def read(self, slot: int, length: int) -> torch.Tensor:
        """A copy (L, 2, length, H, D) of a slot's first tokens."""
        return self.pool[:, :, slot, :length].clone()

    def write(self, slot: int, prefix: torch.Tensor) -> None:
        """Put a copy made by :meth:`read` at the beginning of a slot."""
        self.pool[:, :, slot, : prefix.shape[2]] = prefix
