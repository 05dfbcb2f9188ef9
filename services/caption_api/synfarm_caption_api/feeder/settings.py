"""Every time-out and bound of the feeder, so that tests run with small ones."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from synfarm.contracts.layout import FAN

__all__ = ["FeederSettings"]


class FeederSettings(BaseSettings):
    """``SYNFARM_FEEDER_*``. Times in seconds."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_FEEDER_", frozen=True, hide_input_in_errors=True)

    pass_seconds: float = Field(default=0.5, gt=0)
    """Pause between passes; also the least distance of two ``units`` events of a job."""
    lock_seconds: float = Field(default=5.0, gt=0)
    """Another replica takes over this long after the leader's last sign."""
    claim_gap_seconds: float = Field(default=30.0, ge=0)
    """A message is gone when one sent after it on its queue was claimed longer ago than this."""
    settle_seconds: float = Field(default=5.0, ge=0)
    """A message is gone when its queue was empty for this long; a worker claims milliseconds after it takes one."""
    epoch_grace_seconds: float = Field(default=12.0, ge=0)
    """After Redis lost its memory living workers get this long to renew their leases (every third of the TTL)."""
    window_per_slot: int = Field(default=4, ge=1)
    """Units in flight for each slot of a living worker."""
    window_min: int = Field(default=4, ge=1)
    window_max: int = Field(default=2048, ge=1)
    span: int = Field(default=8192, ge=1)
    """Units above the watermark that may be sent: bounds every listing and table, however stuck one unit is."""
    part_units: int = Field(default=FAN, ge=1)
    """Units in a manifest part; the same for the whole life of a store."""
    reads_per_pass: int = Field(default=512, ge=1)
    """Commits of one job read in one pass."""
    readers: int = Field(default=8, ge=1)
    """Threads that read them."""
    progress_seconds: float = Field(default=5.0, ge=0)
    """Least distance of two writes of progress.json."""
    max_lost_workers: int = Field(default=10, ge=1)
    """A unit under which this many workers were lost is dead."""
    backoff_min_seconds: float = Field(default=1.0, gt=0)
    backoff_max_seconds: float = Field(default=30.0, gt=0)
    """Bounds of the pause after environment faults; it doubles with each."""
    stall_told_seconds: float = Field(default=60.0, ge=0)
    """A job that is stalled for this long tells its webhook."""
    age_seconds: float = Field(default=1800.0, gt=0)
    """A unit that waits in its queue for longer moves up a lane."""
    sweep_seconds: float = Field(default=3600.0, ge=0)
    """Least distance of two looks for what is left in Redis of ended jobs."""
    deletes_per_pass: int = Field(default=1000, ge=1)
    """Objects of a deleted job removed, and dead letters of a retried one moved, in one pass."""
    pin_settle_seconds: float = Field(default=30.0, ge=0)
    """A run's pin that is still there after this takes a deletion back that has not begun to remove."""
    cancel_drain_seconds: float = Field(default=60.0, ge=0)
    """Longest wait for units in work before a cancelled job is closed, or a deleted one purged."""
