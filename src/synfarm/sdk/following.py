"""What a follower of an event stream remembers: the last id, and when the story is over."""

from __future__ import annotations

import httpx
from httpx_sse import ServerSentEvent

from synfarm.contracts.events import Event, EventType
from synfarm.contracts.jobs import JobState
from synfarm.contracts.runs import RunState

__all__ = ["Follower"]

_FINAL = frozenset(s.value for s in JobState if s.is_final) | frozenset(s.value for s in RunState if s.is_final)


class Follower:
    """State of one followed stream across its connections."""

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self.ended = False

    def headers(self) -> dict[str, str]:
        return {"Last-Event-ID": self.last_id} if self.last_id else {}

    def take(self, message: ServerSentEvent) -> Event | None:
        """The event of a message, remembered; None for a message without data.

        Raises:
            pydantic.ValidationError: it is no event of ours.
        """
        if not message.data:
            return None
        event = Event.from_peer(message.data)
        self.last_id = event.id
        if event.type in {EventType.STATE, EventType.RESET} and event.data.get("state") in _FINAL:
            self.ended = True
        return event

    @staticmethod
    def timeout(seconds: float) -> httpx.Timeout:
        """The server sends a heartbeat each 15 s: a minute of silence is a dead connection."""
        return httpx.Timeout(seconds, read=60.0)
