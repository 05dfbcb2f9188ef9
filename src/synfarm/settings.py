"""Settings that several processes share, read from the environment once by each composition root."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["AuthSettings", "ExportSettings", "ProcessSettings", "RedisSettings", "SettingRefused", "StoreSettings"]


class SettingRefused(ValueError):
    """What a setting leads to cannot be used; the message names the variable and repeats nothing that may be secret."""


class StoreSettings(BaseSettings):
    """``SYNFARM_STORE_*``: the S3 server, bucket and root prefix."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_STORE_", frozen=True, hide_input_in_errors=True)

    endpoint: str = "127.0.0.1:9000"
    """host:port, without scheme."""
    access_key: SecretStr = SecretStr("minioadmin")
    secret_key: SecretStr = SecretStr("minioadmin")
    secure: bool = False
    """HTTPS."""
    ca_file: Path | None = None
    """With ``secure``: PEM file of the authorities that the server's certificate is proven by, in place of the
    system's."""
    region: str = "us-east-1"
    bucket: str = "synfarm"
    prefix: str = ""
    """Root prefix of every key, so that tests and tenants share a server; '' or 'a/b'."""
    pool_size: int = Field(default=32, ge=1)
    connect_timeout: float = Field(default=5.0, gt=0)
    read_timeout: float = Field(default=30.0, gt=0)
    retries: int = Field(default=5, ge=0)
    allow_unproven: bool = False
    """Accept a store that fails the start-up probe (safe only with one worker a queue)."""


class ExportSettings(BaseSettings):
    """``SYNFARM_EXPORT_*``: the S3 server of `synfarm export` and `backup` to s3://…; what is unset is the farm's.

    But for ``ca_file``: at another server, or without TLS, the farm's is left out.
    """

    model_config = SettingsConfigDict(env_prefix="SYNFARM_EXPORT_", frozen=True, hide_input_in_errors=True)

    endpoint: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    secure: bool | None = None
    ca_file: Path | None = None
    region: str | None = None


class RedisSettings(BaseSettings):
    """``SYNFARM_REDIS_*``: broker, leases, live counters."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_REDIS_", frozen=True, hide_input_in_errors=True)

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """``rediss://`` is TLS: the server's certificate is always proven, its name too."""
    ca_file: Path | None = None
    """With ``rediss://``: PEM file of authorities that it is proven by, besides the system's."""
    cert_file: Path | None = None
    """With ``rediss://``: this process' own certificate, for a server that asks for one; ``key_file`` is its key."""
    key_file: Path | None = None
    namespace: str = Field(default="synfarm", pattern=r"^[a-z0-9-]{1,40}$")
    """First part of every key and queue name, so that two farms may share a server."""

    @field_validator("url")
    @classmethod
    def _can_be_read(cls, value: SecretStr) -> SecretStr:
        """Clients raise with the piece that they took for a port: of a password with a ``/`` in it."""
        try:
            parts = urlsplit(value.get_secret_value())
            named = parts.hostname is not None or parts.port is None
            stray = "@" in parts.path + parts.query + parts.fragment
            usable = parts.scheme in {"redis", "rediss", "unix"} and named and not stray
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(
                "must be redis://:password@host:port/number or rediss://…; in a password write / as %2F, # as %23, "
                "? as %3F, @ as %40 and % as %25"
            )
        return value


class AuthSettings(BaseSettings):
    """``SYNFARM_AUTH*``: who may use the HTTP APIs."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_", frozen=True, hide_input_in_errors=True)

    auth: Literal["keys", "off"] = "keys"
    auth_keys_file: Path | None = None
    """JSON list of {sha256, owner, role, limits}; written by `synfarm.auth.new_key`."""
    auth_hosts: tuple[str, ...] = ()
    """A JSON list: names with a dot by which a server without keys may be asked (see `synfarm.host_check`)."""


class ProcessSettings(BaseSettings):
    """What every process takes: logging, fault hooks."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_", frozen=True, hide_input_in_errors=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "json"
    faults: str = ""
    """Fault hooks for tests, see :mod:`synfarm.faults`."""
    tracing: Literal["off", "otlp"] = "off"
    """``otlp``: traces of jobs go to where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says (extra ``tracing``)."""
