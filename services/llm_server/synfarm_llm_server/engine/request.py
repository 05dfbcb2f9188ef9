"""A request as the engine sees it, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Finish", "FinishReason", "Generation", "Sampling", "Token", "TokenEvent"]

FinishReason = Literal["length", "eos_token", "stop_sequence"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; without ``sample`` the most likely one is."""

    seed: int = 0
    """Any unsigned 64-bit number."""
    sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    top_n_tokens: int = 0

    @property
    def penalised(self) -> bool:
        return self.repetition_penalty != 1.0 or self.frequency_penalty != 0.0


@dataclass(frozen=True, slots=True)
class Token:
    """A token with the log-probability that the network gave it (before temperature and filters)."""

    id: int
    text: str
    logprob: float | None
    special: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a row."""

    reason: FinishReason
    text: str
    """All text, without special tokens, up to the end of the stop sequence if one was met."""
    stop: str | None
    """The stop sequence that ended it."""
    prefill: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One generated token; the last one carries the end."""

    index: int
    token: Token
    top_tokens: tuple[Token, ...] = ()
    finish: Finish | None = None


@dataclass(slots=True)
class Generation:
    """One row's order. ``emit`` is called in the engine's thread with every event, or with the error that ended it."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling
    emit: Callable[[TokenEvent | Exception], None]
    stop: tuple[str, ...] = ()
    prefill_details: bool = False
    cancelled: bool = field(default=False, init=False)

    def cancel(self) -> None:
        """Ask the engine to drop the row before its next step; safe from any thread (one flag, set once)."""
        self.cancelled = True
