"""Settings of the render worker: ``SYNFARM_RENDER_*``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["RenderWorkerSettings"]


class RenderWorkerSettings(BaseSettings):
    """One process; which jobs it takes is said by its capabilities, all else by the job."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_RENDER_", frozen=True)

    capabilities: tuple[str, ...] = ("collage-s", "collage-m")
    """Model family and size class that this worker serves, as JSON: ``["sd15-m"]``."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """For diffusers; ``auto`` takes the GPU if there is one."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """For diffusers; ``auto`` is float16 on a GPU and float32 on a CPU."""
    batch: int | None = Field(default=None, ge=1, le=1024)
    """Images in one batch; by default what the renderer likes."""
    encode_threads: int = Field(default=2, ge=1, le=64)
    finishing: int = Field(default=2, ge=0, le=16)
    """Units that may be packed, uploaded and committed beside the one that is drawn; 0: one after the other."""
    finishing_bytes: int = Field(default=512_000_000, ge=1)
    """Memory of the units that finish: above it drawing waits until one is done."""
    grace_seconds: float = Field(default=25.0, gt=0)
    """After SIGTERM: the unit in work is finished within this time, or handed back."""
    host: str = "127.0.0.1"
    """Of ``/healthz`` and ``/metrics``."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """None: no HTTP; 0: a free port, written to the log."""
    stall_seconds: float = Field(default=300.0, gt=0)
    """``/healthz`` answers 503 when a unit in work has not got on for this long."""
