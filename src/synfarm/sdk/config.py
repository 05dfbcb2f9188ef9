"""Where a client finds its servers: addresses, key, patience."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["ClientConfig", "without_user"]


def without_user(address: object) -> str:
    """An address as it may be shown: a proxy's user and password before an ``@`` are left out."""
    before, at, rest = str(address).rpartition("@")
    scheme, named, _ = before.partition("://")
    return f"{scheme if named else ''}{named}{rest}" if at else rest


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SYNFARM_", frozen=True, hide_input_in_errors=True)

    api_url: str = "http://127.0.0.1:8000"
    trainer_url: str = "http://127.0.0.1:8001"
    api_key: SecretStr | None = None
    api_key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Addresses of the two APIs (``http://host:port``), the bearer key, and how patient to be."""

    api_url: str = "http://127.0.0.1:8000"
    trainer_url: str = "http://127.0.0.1:8001"
    key: str | None = field(default=None, repr=False)
    timeout: float = 30.0
    """Seconds for one request."""
    tries: int = 5
    """Of a request that may be repeated, and of connecting an event stream."""
    pause: float = 0.5
    """Seconds before the second try; doubles, up to 10."""

    @classmethod
    def from_environment(cls) -> Self:
        """``SYNFARM_API_URL``, ``SYNFARM_TRAINER_URL``, and ``SYNFARM_API_KEY`` or ``SYNFARM_API_KEY_FILE``.

        Raises:
            OSError: the key file cannot be read.
        """
        found = _Environment()
        key = found.api_key.get_secret_value() if found.api_key else None
        if key is None and found.api_key_file is not None:
            key = found.api_key_file.read_text().strip()
        return replace(cls(), api_url=found.api_url, trainer_url=found.trainer_url, key=key)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def delay(self, attempt: int) -> float:
        """Seconds to wait after try number ``attempt`` (from 0)."""
        return min(self.pause * 2.0**attempt, 10.0)
