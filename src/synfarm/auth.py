"""Bearer keys: 256 random bits, stored only as SHA-256, each with its owner and role."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError

from synfarm.contracts.base import Contract
from synfarm.contracts.ids import Name, Sha256
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.wording import in_words
from synfarm.settings import AuthSettings, SettingRefused

__all__ = ["Authenticator", "KeyLimits", "KeyRecord", "Principal", "bind_is_allowed", "load_keys", "new_key"]

Role = Literal["user", "admin"]


class KeyLimits(Contract):
    """What a key may do at most; None: as much as it likes. Held across all replicas."""

    jobs_active: int | None = Field(default=None, ge=0)
    """Jobs of its owner that have not ended."""
    captions_planned: int | None = Field(default=None, ge=0)
    """Sum over those jobs."""
    requests_per_second: float | None = Field(default=None, gt=0, le=1e6)
    """On average."""
    burst: int = Field(default=20, ge=1)
    """Requests that may come at once."""


class Principal(Contract):
    """Who asks. Users see their own jobs and runs, admins all."""

    owner: Name
    role: Role
    key: str | None = None
    """First digits of the key's hash: enough to tell keys apart, too little to find one."""
    limits: KeyLimits = KeyLimits()

    def may_see(self, owner: str) -> bool:
        return self.role == "admin" or self.owner == owner


class KeyRecord(Contract):
    """A key as it is kept: never the key itself."""

    sha256: Sha256
    owner: Name
    role: Role = "user"
    limits: KeyLimits = KeyLimits()


_KEYS = TypeAdapter(list[KeyRecord])
_FIELDS = KeyRecord.model_fields.keys() | KeyLimits.model_fields.keys()
_LOCAL = Principal(owner="local", role="admin")


def new_key(owner: str, role: Role = "user") -> tuple[str, KeyRecord]:
    """A fresh key (shown once) and the record to keep."""
    key = "sf_" + secrets.token_urlsafe(32)
    return key, KeyRecord(sha256=hashlib.sha256(key.encode()).hexdigest(), owner=owner, role=role)


def load_keys(path: Path | None) -> list[KeyRecord]:
    """The key file's records; none without a file.

    Raises:
        SettingRefused: the file cannot be read or is malformed. What is in it is not told: whoever takes the hash for
            the key itself has written that.
    """
    if path is None:
        return []
    try:
        return _KEYS.validate_json(path.read_bytes())
    except OSError as error:
        told = f"the file cannot be read ({error.strerror})"
    except ValidationError as error:
        place = [str(part) for part in error.errors()[0]["loc"] if isinstance(part, int) or part in _FIELDS]
        told = f"{'.'.join(place) or 'the file'}: {in_words(error)}; give a list of {{sha256, owner, role, limits}}"
    raise SettingRefused(f"SYNFARM_AUTH_KEYS_FILE: {told}")


def bind_is_allowed(host: str, settings: AuthSettings, keys: list[KeyRecord]) -> bool:
    """Without keys a process binds loopback only, unless ``SYNFARM_AUTH=off`` says that it is meant so."""
    return bool(keys) or settings.auth == "off" or host in {"127.0.0.1", "::1", "localhost"}


class Authenticator:
    """Turns an ``Authorization`` header into a principal."""

    def __init__(self, settings: AuthSettings, keys: Iterable[KeyRecord]) -> None:
        self._keys = list(keys)
        self._open = settings.auth == "off" or not self._keys
        self._hosts = settings.auth_hosts

    @property
    def open_hosts(self) -> tuple[str, ...] | None:
        """Where no key is asked for: the names with a dot that the server may be called by; None where one is."""
        return self._hosts if self._open else None

    def __call__(self, header: str | None) -> Principal:
        """The principal of a header.

        Raises:
            ProblemError: 401, the key is missing or unknown.
        """
        if self._open:
            return _LOCAL
        scheme, _, key = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ProblemError(
                401,
                "key_missing",
                "This server needs a key.",
                field="Authorization",
                hint="Send the header 'Authorization: Bearer <key>'.",
            )
        digest = hashlib.sha256(key.strip().encode()).hexdigest()
        found = [record for record in self._keys if hmac.compare_digest(record.sha256, digest)]
        if not found:
            raise ProblemError(
                401,
                "key_unknown",
                "This key is not known here.",
                field="Authorization",
                hint="Check the key, or ask the operator for a new one.",
            )
        record = found[0]
        return Principal(owner=record.owner, role=record.role, key=record.sha256[:16], limits=record.limits)
