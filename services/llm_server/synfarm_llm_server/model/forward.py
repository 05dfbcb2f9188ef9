"""The two kinds of forward pass over the slots: reading prompts (several tokens a row) and one step for every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from synfarm_llm_server.model.cache import SlotCache
from synfarm_llm_server.model.loading import LoadedModel

__all__ = ["ForwardPass"]


class ForwardPass:
    """Runs the network; counts its passes."""

    def __init__(self, model: LoadedModel, slots: int, capacity: int) -> None:
        self._network = model.network
        self._device = model.device
        self.cache = SlotCache(model.network.config, slots, capacity, dtype=model.dtype, device=model.device)
        self.passes = 0

    @torch.inference_mode()
    def __call__(
        self, first: int, tokens: Sequence[Sequence[int]], starts: Sequence[int], *, every_position: bool = False
    ) -> torch.Tensor:
        """Run rows ``first`` onward: row i continues with ``tokens[i]`` after its ``starts[i]`` cached tokens.

        Rows of unequal length are padded on the left, so that the last query of every row is its last token; padding
        writes to the scratch position and looks at key 0 only, to stay finite.

        Returns:
            Logits, float32 at least: (B, vocabulary) of the last tokens, or (B, T, vocabulary) for ``every_position``.
        """
        longest = max(map(len, tokens))
        lengths = torch.tensor([len(row) for row in tokens])
        ids_bt = torch.tensor([[0] * (longest - len(row)) + list(row) for row in tokens])
        offsets_bt = torch.arange(longest)[None, :] - (longest - lengths)[:, None]
        padding_bt = offsets_bt < 0
        positions_bt = (offsets_bt + torch.tensor(starts)[:, None]).masked_fill(padding_bt, 0)
        width = max(start + len(row) for start, row in zip(starts, tokens, strict=True))
        mask_b1tc = (torch.arange(width)[None, None, :] <= positions_bt[:, :, None])[:, None]
        self.cache.aim(first, positions_bt.masked_fill(padding_bt, self.cache.capacity).to(self._device), width)
        output: Any = self._network(
            input_ids=ids_bt.to(self._device),
            attention_mask=mask_b1tc.to(self._device),
            position_ids=positions_bt.to(self._device),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=0 if every_position else 1,
        )
        self.passes += 1
        logits: torch.Tensor = output.logits if every_position else output.logits[:, -1]
        return logits.to(torch.promote_types(logits.dtype, torch.float32))
