"""The farm that is simulated: its size, how long things take, what goes wrong."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synfarm.contracts.base import Contract

__all__ = ["Loss", "Outage", "Outcome", "SimulatedFarm"]


class Outage(Contract):
    """From ``at`` on, seconds after the start, the store or Redis does not answer."""

    of: Literal["store", "redis"]
    at: float = Field(ge=0)
    seconds: float = Field(gt=0)

    @property
    def end(self) -> float:
        return self.at + self.seconds


class Loss(Contract):
    """A worker that is lost at a known time, ``at`` seconds after the start; nothing if none is there then."""

    worker: int = Field(ge=0)
    at: float = Field(ge=0)
    seconds: float | None = Field(default=None, ge=0)
    """Until its successor takes a unit; None: ``restart_seconds``."""


class SimulatedFarm(Contract):
    """One job on one farm. Seconds throughout."""

    units: int = Field(ge=1, le=100_000_000)
    render_workers: int = Field(ge=1, le=20_000)
    caption_slots: int = Field(default=8, ge=1)
    """Units of captions in work at a time, of all caption workers together."""
    caption_seconds: float = Field(default=0.0, ge=0)
    """Of one unit in one slot."""
    render_seconds: float = Field(gt=0)
    """Of one unit on one worker, mean."""
    render_spread: float = Field(default=0.0, ge=0, lt=1)
    """Units take evenly from (1 - this) to (1 + this) times the mean."""
    finish_seconds: float = Field(default=0.0, ge=0)
    """Encoding, upload and commit, beside the next unit."""
    window: int = Field(default=2048, ge=1)
    """Units in flight, from the sending until a pass of the feeder sees the commit."""
    pass_seconds: float = Field(default=0.5, gt=0)
    lease_seconds: float = Field(default=30.0, gt=0)
    """A lost worker's unit is sent again two to three thirds of this later."""
    preemptions_per_hour: float = Field(default=0.0, ge=0)
    """Of one worker that is there."""
    losses: tuple[Loss, ...] = ()
    """Beside those by chance: what came of a day that was recorded."""
    notice: bool = False
    """Workers are warned and hand their unit back, so that nobody waits for its lease."""
    restart_seconds: float = Field(default=0.0, ge=0)
    """Until the successor of a lost worker takes a unit."""
    fault_rate: float = Field(default=0.0, ge=0, lt=1)
    """Share of attempts that end in a fault of the unit."""
    tries: int = Field(default=3, ge=1)
    """Faults after which a unit is dead."""
    outages: tuple[Outage, ...] = ()
    store_patience: float = Field(default=30.0, ge=0)
    """A finished unit waits this long for a store that is away; then it is let go, and drawn again."""


class Outcome(Contract):
    """What came of one run of it."""

    seconds: float
    """Until the feeder has seen the last unit."""
    committed: int
    dead: int
    sends: int
    """Times that a render worker began a unit."""
    lost_workers: int
    lost_seconds: float
    """Of workers, on units that had to be begun again."""
    most_lost: float
    """Seconds of the longest of these."""
    idle_seconds: float
    """Of workers that were there and had no unit."""
