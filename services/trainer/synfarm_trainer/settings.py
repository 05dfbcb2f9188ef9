"""Settings of the trainer service."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from synfarm_trainer.launch.devices import parse_devices

__all__ = ["TrainerSettings"]


class TrainerSettings(BaseSettings):
    """``SYNFARM_TRAINER_*``."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_TRAINER_", frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8002, ge=0, le=65535)
    state_dir: Path = Path(".synfarm/trainer")
    """Journals and logs of runs; must not be shared by two services."""
    cache_dir: Path | None = None
    """Where runs with ``data.cache_disk_mib`` keep shards; None: in the state folder. Services may share it."""
    launcher: Literal["local", "kubernetes"] = "local"
    """``kubernetes``: a JobSet for each run, by ``SYNFARM_TRAINER_KUBERNETES_*``."""
    sets: Path | None = None
    """Folder of the labelled sets that runs may be evaluated on (``eval.labelled``)."""
    max_ranks: int = Field(default=8, ge=1)
    """Most ranks that a run may ask for on this machine; on a set of ``devices``, as many as it has GPUs."""
    devices: str = ""
    """Sets of GPUs, one run a set: ``0,1;2,3``; ``cpu`` is a set without. Empty: one run at a time has the machine."""
    lease_dir: Path = Field(default_factory=lambda: Path(gettempdir()) / f"synfarm-leases-{os.getuid()}")
    """Locks of GPUs; shared by all trainers of a machine, so that no two of them use the same one."""
    barren_restarts: int = Field(default=3, ge=0)
    """Restarts in a row without a newer committed checkpoint before a run counts as failed."""
    grace_seconds: float = Field(default=20.0, gt=0)
    """From SIGTERM to SIGKILL when a run is stopped: time for a last checkpoint."""
    shutdown_grace_seconds: float = Field(default=8.0, gt=0)
    """The same when the service itself ends; keep it below the supervisor's own limit."""
    backoff_seconds: float = Field(default=1.0, ge=0)
    """Pause before a restart without progress; doubles each time, to a minute."""
    heartbeat_seconds: float = Field(default=15.0, ge=1)
    """Between comment lines on an idle event stream."""
    health_age_seconds: float = Field(default=60.0, gt=0)
    """``/healthz`` fails when the runner has shown no life for this long."""
    body_limit: int = Field(default=1 << 20, ge=1 << 10)
    """Bytes of a request body."""

    @field_validator("devices")
    @classmethod
    def _can_be_parsed(cls, value: str) -> str:
        parse_devices(value)
        return value
