"""Keys and values of recent prompts, so that a prompt with the same beginning (a few-shot block) is not read again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch

__all__ = ["PrefixCache"]


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


class PrefixCache:
    """Least recently used prompts within a budget of tokens."""

    def __init__(self, budget: int, *, shortest: int = 8) -> None:
        self._budget = budget
        self._shortest = shortest
        self._entries: OrderedDict[tuple[int, ...], torch.Tensor] = OrderedDict()
        self._held = 0
        self.hit_tokens = 0

    def find(self, prompt: Sequence[int]) -> torch.Tensor | None:
        """The longest kept beginning of ``prompt``, (L, 2, length, H, D); always shorter than the prompt.

        The last token is left out because its logits have to be computed anyway.
        """
        best, length = None, 0
        for known in self._entries:
            shared = min(_shared(known, prompt), len(prompt) - 1)
            if shared > length:
                best, length = known, shared
        if best is None or length < self._shortest:
            return None
        self._entries.move_to_end(best)
        self.hit_tokens += length
        return self._entries[best][:, :, :length]

    def worth_keeping(self, prompt: Sequence[int]) -> bool:
        """Whether ``prompt`` fits and is not kept yet."""
        return self._shortest <= len(prompt) <= self._budget and tuple(prompt) not in self._entries

    def keep(self, prompt: Sequence[int], states: torch.Tensor) -> None:
        """Remember (L, 2, len(prompt), H, D); the longest unused entries go."""
        self._entries[tuple(prompt)] = states
        self._held += len(prompt)
        while self._held > self._budget:
            gone, _ = self._entries.popitem(last=False)
            self._held -= len(gone)
