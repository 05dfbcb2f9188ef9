"""One request as data, and what its repeat means when the answer to an earlier try was lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Call", "Done"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """How a repeat is refused when an earlier try, whose answer was lost, has done what is asked."""

    code: str
    """Of the problem."""
    look: Call[T] | None = None
    """Asks for the answer in its place. None: there is none, and the call reads an empty one."""
    holds: Callable[[T], bool] = lambda _: True
    """Whether what it sees is what was asked for; otherwise the refusal stands."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request. Sent twice it leaves the same behind as once, so a lost answer may be asked for again.

    A ``costly`` one leaves nothing behind, but each sending makes the language model write anew: it is not sent again
    while the first may still be at work.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 0.0
    """Seconds that it may take at least, where the client's own are fewer."""
    costly: bool = False
    done: Done[T] | None = None
    """For what cannot be done twice. Whether an earlier try did it, or there was nothing to do before, nobody knows."""
