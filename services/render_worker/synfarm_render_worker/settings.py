"""Settings of the render worker: ``SYNFARM_RENDER_*``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from synfarm.contracts.jobs import RenderSettings

__all__ = ["RenderWorkerSettings"]

_SIDES = {"s": 256, "m": 512, "l": 1024, "xl": 2048}
"""Largest side of each size class."""


class RenderWorkerSettings(BaseSettings):
    """One process; which jobs it takes is said by its capabilities, all else by the job."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_RENDER_", frozen=True, hide_input_in_errors=True)

    capabilities: tuple[str, ...] = ("collage-s", "collage-m")
    """Model family and size class that this worker serves, as JSON: ``["sd15-m"]``."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """For diffusers; ``auto`` takes the GPU if there is one."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """For diffusers; ``auto`` is bfloat16 on a GPU that computes in it, else float16, and float32 on a CPU."""
    models: Path | None = None
    """Folder of models: a job's model is a folder below it, if there is one of that name, else a hub id."""
    cache: Path | None = None
    """Tuned batch sizes and compiled kernels; by default ``$XDG_CACHE_HOME/synfarm/render``, or below ``~/.cache``."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile of a model's repeated blocks; ``auto``: on a GPU."""
    batch: int | None = Field(default=None, ge=1, le=1024)
    """Images in one batch; by default what the renderer likes, which diffusers finds out on a GPU."""
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
    """A unit in work that has not got on for this long hangs: its lease is no longer renewed, ``/healthz`` answers 503
    and the process ends itself, so that the unit is drawn elsewhere."""
    load_seconds: float = Field(default=1800.0, gt=0)
    """The same bound while a model is loaded, and up to the first step after it, which may compile."""
    preload: str | None = None
    """A model that is loaded before the first unit is taken: ``model``, ``model@revision``, or RenderSettings as JSON.
    Without it the first unit that needs a model loads it."""
    preload_retry_seconds: float = Field(default=30.0, gt=0)
    """Pause after a load that failed."""

    @property
    def preloaded(self) -> RenderSettings | None:
        """What ``preload`` asks for; family and size of a bare model are those of the first capability that has one."""
        if self.preload is None:
            return None
        if self.preload.lstrip().startswith("{"):
            return RenderSettings.model_validate_json(self.preload)
        model, _, revision = self.preload.partition("@")
        served = [capability.rpartition("-") for capability in self.capabilities]
        family, size = next(((family, size) for family, _, size in served if family != "collage"), ("", ""))
        if not family:
            raise ValueError('SYNFARM_RENDER_CAPABILITIES names no family of a model; give for example ["sd15-m"]')
        return RenderSettings(
            renderer="diffusers", model=model, revision=revision or None, family=family, size=_SIDES.get(size, 512)
        )

    @model_validator(mode="after")
    def _preload_can_be_read(self) -> Self:
        try:
            wanted = self.preloaded
        except ValueError as error:
            raise ValueError(f"preload: {error}; give 'model', 'model@revision' or RenderSettings as JSON") from error
        if wanted is not None and wanted.capability not in self.capabilities:
            raise ValueError(
                f"preload: it needs the capability {wanted.capability!r}, which is not among {list(self.capabilities)}"
            )
        return self

    @property
    def cache_folder(self) -> Path:
        """Where what may be lost is kept."""
        if self.cache is not None:
            return self.cache
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synfarm" / "render"
