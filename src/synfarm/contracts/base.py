"""What every contract model shares: frozen, no unknown fields, versioned, one canonical JSON form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict

__all__ = ["Contract", "FieldFault", "Moment", "utc_now"]


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs its zone, for example 2026-01-31T12:00:00Z")
    return value.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""A time with its zone, kept in UTC."""


def utc_now() -> datetime:
    """The present time in UTC."""
    return datetime.now(UTC)


class FieldFault(ValueError):
    """Raised by a validator that sees more than one field: tells in which of them the fault lies."""

    def __init__(self, told: str, *place: str | int) -> None:
        """``place``: below the object that is validated, as in ``loc`` of pydantic's errors."""
        super().__init__(told)
        self.place = place


class Contract(BaseModel):
    """Base of every object that crosses a process border."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="null")

    def to_bytes(self) -> bytes:
        """Canonical JSON: fields in declared order, no spaces; equal objects give equal bytes."""
        return self.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, data: bytes | str) -> Self:
        """Parse and validate. A field that this version does not know is an error: it may change what the rest means.

        Raises:
            pydantic.ValidationError: it is not such an object; the error names the field.
        """
        return cls.model_validate_json(data)

    @classmethod
    def from_peer(cls, data: bytes | str) -> Self:
        """As :meth:`from_bytes`, without the fields that this version does not know.

        For what another process tells of this moment (heartbeats, answers of an API), which nothing is built on: in a
        rolling upgrade it may be newer. Never for a stored object.

        Raises:
            pydantic.ValidationError: as :meth:`from_bytes`.
        """
        return cls.model_validate_json(data, extra="ignore")
