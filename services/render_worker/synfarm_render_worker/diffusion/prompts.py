"""Encoded captions: each once for all its images, the empty prompt once a model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from synfarm.telemetry import get_logger
from synfarm_render_worker.diffusion.adapters.protocol import Embedding, FamilyAdapter

__all__ = ["Prompts"]

_log = get_logger(__name__)


class Prompts:
    """Keeps the last captions, because the images of one may lie in two calls.

    Encoders run on ``together`` captions at once, filled up with empty ones: the same kernels for each, so that an
    embedding is a function of its caption whatever is encoded beside it.
    """

    def __init__(self, adapter: FamilyAdapter, *, together: int = 1, kept: int = 64) -> None:
        self._adapter, self._together, self._kept = adapter, together, kept
        self._known: OrderedDict[str, Embedding] = OrderedDict()
        self._empty: Embedding | None = None
        self._truncated = 0

    def rows(self, captions: Sequence[str]) -> Embedding:
        """One row a caption, in order."""
        wanted = list(dict.fromkeys(captions))
        missing = [caption for caption in wanted if caption not in self._known]
        for start in range(0, len(missing), self._together):
            self._encode(missing[start : start + self._together])
        rows = {caption: self._known[caption] for caption in wanted}
        for caption in wanted:
            self._known.move_to_end(caption)
        while len(self._known) > self._kept:
            self._known.popitem(last=False)
        return Embedding.joined([rows[caption] for caption in captions])

    def empty(self) -> Embedding:
        """One row."""
        if self._empty is None:
            self._empty = self._adapter.unconditional()
        return self._empty

    def take_truncated(self) -> int:
        """Captions whose end no encoder read, since the last call."""
        count, self._truncated = self._truncated, 0
        return count

    def _encode(self, captions: Sequence[str]) -> None:
        for caption in captions:
            self._measure(caption)
        filled = [*captions, *[""] * (self._together - len(captions))]
        rows = self._adapter.encode(filled).rows()
        self._known.update(zip(captions, rows, strict=False))

    def _measure(self, caption: str) -> None:
        reader = self._adapter.reader
        if not reader.cuts(caption):
            return
        if not self._truncated:  # once a unit is enough
            _log.warning("caption_truncated", caption=caption, limit_tokens=reader.limit)
        self._truncated += 1
