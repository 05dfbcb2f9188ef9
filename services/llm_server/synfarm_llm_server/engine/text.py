"""Tokens to text as they come: whole characters only, and the end found where a stop sequence ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

__all__ = ["RowText", "StopHold"]


@dataclass(slots=True)
class RowText:
    """The text of one row. The pieces given out, joined, are the text: a stream and a whole answer cannot differ."""

    tokenizer: Tokenizer
    stop: tuple[str, ...]
    special_ids: frozenset[int]
    text: str = ""
    stopped_by: str | None = None
    _stream: DecodeStream = field(default_factory=lambda: DecodeStream(skip_special_tokens=True))
    _ids: list[int] = field(default_factory=list)

    def add(self, token: int, *, last: bool) -> str:
        """The piece of text that ``token`` completes ('' inside a character that spans tokens).

        ``last`` flushes: a character that was never completed becomes U+FFFD. Text after a stop sequence is cut off.
        """
        piece = ""
        if token not in self.special_ids:
            self._ids.append(token)
            piece = self._stream.step(self.tokenizer, token) or ""
        return self._take(piece + (self._rest(piece) if last else ""))

    def _rest(self, piece: str) -> str:
        whole = self.tokenizer.decode(self._ids, skip_special_tokens=True)
        return whole[len(self.text) + len(piece) :]

    def _take(self, piece: str) -> str:
        if not piece or self.stopped_by is not None:
            return ""
        joined = self.text + piece
        ends = []
        for stop in self.stop:
            found = joined.find(stop, max(0, len(self.text) - len(stop) + 1))
            if found >= 0:
                ends.append((found + len(stop), stop))
        if ends:
            end, self.stopped_by = min(ends)
            piece = joined[len(self.text) : end]
        self.text += piece
        return piece


@dataclass(slots=True)
class StopHold:
    """For answers without the stop sequence (OpenAI's rule): holds back text that may be the beginning of one."""

    stop: tuple[str, ...]
    _held: str = ""

    def add(self, piece: str) -> str:
        """The text that is certainly no part of a stop sequence."""
        self._held += piece
        keep = 0
        for stop in self.stop:
            for size in range(min(len(stop), len(self._held)), keep, -1):
                if self._held.endswith(stop[:size]):
                    keep = size
                    break
        safe = self._held[: len(self._held) - keep]
        self._held = self._held[len(self._held) - keep :]
        return safe

    def close(self, stopped_by: str | None) -> str:
        """The rest, without the stop sequence that ended the row."""
        rest, self._held = self._held, ""
        return rest.removesuffix(stopped_by) if stopped_by else rest
