"""Events of jobs and runs, as they leave by Server-Sent Events."""

from __future__ import annotations

import re
from enum import StrEnum

from pydantic import Field, JsonValue

from synfarm.contracts.base import Contract, Moment

__all__ = ["Event", "EventType", "event_id", "parse_event_id"]

_ID = re.compile(r"([0-9a-z]{1,32})-([0-9]{1,18})")


class EventType(StrEnum):
    STATE = "state"
    PROGRESS = "progress"
    UNITS = "units"
    """Units finished since the last such event, coalesced to at most two events a second."""
    STALLED = "stalled"
    STEP = "step"
    CHECKPOINT = "checkpoint"
    EVAL = "eval"
    SEGMENT = "segment"
    """A run trains on other data from some position on."""
    RESET = "reset"
    """The full state: the client's last id is of a lost epoch or too old."""
    HEARTBEAT = "heartbeat"


class Event(Contract):
    id: str = Field(pattern=r"^[0-9a-z]{1,32}-[0-9]{1,18}$")
    """``<epoch>-<seq>``: the epoch changes when the stream's memory is lost."""
    type: EventType
    at: Moment
    data: dict[str, JsonValue]


def event_id(epoch: str, sequence: int) -> str:
    return f"{epoch}-{sequence}"


def parse_event_id(value: str) -> tuple[str, int] | None:
    """(epoch, sequence), or None for anything else: a client may send what it likes as ``Last-Event-ID``."""
    match = _ID.fullmatch(value)
    return (match.group(1), int(match.group(2))) if match else None
