"""What one request to one server is, before anything is known of pacing, retries or other servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from synfarm_caption_api.text_generator import Generation, ModelInfo

__all__ = ["Ask", "CallFailed", "Discover", "LlmApi", "PushedBack", "ServerInfo"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt to complete."""

    prompt: str
    seed: int
    temperature: float
    top_p: float
    max_new_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server tells of itself."""

    model: ModelInfo
    max_in_flight: int | None = None
    """Its own cap of concurrent requests, where it tells one."""


class PushedBack(Exception):
    """The server is busy (429, or 503 with Retry-After): nothing is wrong, ask later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """``retry_after``: seconds that the server asked for."""
        super().__init__(message)
        self.retry_after = retry_after


class CallFailed(Exception):
    """No usable answer: no connection, a time-out, a 5xx, or something that is no LLM at all."""

    def __init__(self, message: str, *, timed_out: bool = False, hopeless: bool = False, said_no: bool = False) -> None:
        """
        Args:
            hopeless: any request would end so (wrong key, wrong path): more tries tell nothing new.
            said_no: the server received the request and answered it with an error (5xx).
        """
        super().__init__(message)
        self.timed_out, self.hopeless, self.said_no = timed_out, hopeless, said_no


class LlmApi(Protocol):
    """A server that has told what it is; safe for concurrent calls on one event loop."""

    @property
    def info(self) -> ServerInfo: ...

    async def complete(self, ask: Ask) -> Generation:
        """One request, one try.

        Raises:
            PushedBack, CallFailed
            PromptRefused: this very request would be refused again.
        """


Discover = Callable[[], Awaitable[LlmApi]]
"""Asks a server what it is. Raises PushedBack, CallFailed."""
