"""Settings of the caption API and of the caption worker."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["ApiSettings", "LlmSettings", "WebSettings", "WorkerSettings"]


class LlmSettings(BaseSettings):
    """``SYNFARM_CAPTION_LLM_*``: the servers that write the captions."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_CAPTION_LLM_", frozen=True, hide_input_in_errors=True)

    url: str = "http://127.0.0.1:8080"
    """Base URLs, joined by commas; servers of one model share the work, and one that is away is left out."""
    api: Literal["auto", "tgi", "completions"] = "auto"
    """``tgi``: Text Generation Inference's own; ``completions``: ``/v1/completions`` (vLLM, SGLang, llama.cpp)."""
    model: str | None = None
    """Which model, where ``/v1/models`` lists several."""
    token: SecretStr | None = None
    """Sent as a bearer key; without it no key of this machine is sent."""
    max_in_flight: int = Field(default=96, ge=1, le=4096)
    """Upper bound of the adaptive limit, for one process and URL; a cap that the server tells (TGI does) counts too."""
    start_in_flight: int = Field(default=16, ge=1)
    timeout_seconds: float = Field(default=120.0, gt=0)
    """For one request."""
    patience_seconds: float = Field(default=120.0, gt=0)
    """Of nothing but 429, after which a server counts as away."""
    tries: int = Field(default=6, ge=1, le=50)
    """Sendings of one request that may fail (5xx, time-out, no connection); 429 is no failure."""
    away_seconds: float = Field(default=5.0, ge=0)
    """Requests wait so long for a server while all are away; then the job shows ``stalled``."""

    @property
    def urls(self) -> tuple[str, ...]:
        """One base URL a server, without ``/v1`` or a slash at the end."""
        return tuple(part.strip().rstrip("/").removesuffix("/v1").rstrip("/") for part in self.url.split(","))

    @model_validator(mode="after")
    def _urls_are_usable(self) -> LlmSettings:
        for number, url in enumerate(self.urls, start=1):
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                # Not repeated: it may be a key in the wrong variable.
                raise ValueError(
                    f"url: address {number} is no base URL; give http://host:port, or several of them joined by commas"
                )
            if parts.username is not None or parts.password is not None:
                raise ValueError("url: it holds a user name or password; give the key as SYNFARM_CAPTION_LLM_TOKEN")
        if len(set(self.urls)) < len(self.urls):
            raise ValueError("url: the same server is given twice; each takes up to max_in_flight requests by itself")
        return self


class WorkerSettings(BaseSettings):
    """``SYNFARM_CAPTION_WORKER_*``."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_CAPTION_WORKER_", frozen=True, hide_input_in_errors=True)

    units: int = Field(default=8, ge=1, le=256)
    """Units in work at a time; their requests share one limit."""
    grace_seconds: float = Field(default=25.0, ge=0)
    """After SIGTERM units get this long to finish, then they are handed back."""
    host: str = "127.0.0.1"
    """Of ``/healthz``, ``/readyz`` and ``/metrics``."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """None: no HTTP; 0: a free port, written to the log."""
    stall_seconds: float = Field(default=600.0, gt=0)
    """A worker none of whose units in work has got on for this long ends itself; longer than the LLM's patience."""


class ApiSettings(BaseSettings):
    """``SYNFARM_CAPTION_*``."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_CAPTION_", frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    feeder: bool = True
    """Run the feeder in this replica; one replica at a time leads."""
    body_limit: int = Field(default=16 << 20, ge=1 << 10)
    """Bytes of a request body."""
    asks_at_once: int = Field(default=4, ge=1)
    """Of one key and replica: ``POST /v1/backgrounds`` and ``POST /v1/captions`` under way, which take the LLM's places
    at once; as many as ``synfarm backgrounds make`` sends."""
    heartbeat_seconds: float = Field(default=15.0, ge=1)
    """Between comment lines on an idle event stream."""
    fresh_seconds: float = Field(default=1.0, ge=0)
    """What the store says of a job is read again after this long, counters and flags after a fifth of it."""
    health_age_seconds: float = Field(default=60.0, gt=0)
    """``/healthz`` fails when the feeder's loop has not come round for this long."""


class WebSettings(BaseSettings):
    """``SYNFARM_CAPTION_API_*``: the web page."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_CAPTION_API_", frozen=True, hide_input_in_errors=True)

    trainer_url: str | None = Field(default=None, pattern=r"^https?://")
    """Where this process reaches the trainer, for the page's part about runs; the browser never asks it."""
