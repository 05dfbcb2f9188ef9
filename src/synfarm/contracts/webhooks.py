"""Webhooks of a job: where to call, what is waiting to be sent, and what became of it (Standard Webhooks)."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.ids import JobId

__all__ = ["Delivery", "Notice", "Webhook"]


def _reachable(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("is not a URL") from error
    if parts.scheme not in {"http", "https"} or not host or parts.username or parts.password or parts.fragment:
        raise ValueError("must be http:// or https:// with a host, without user, password or fragment")
    return value


def _secret(value: str) -> str:
    try:
        size = len(base64.b64decode(value.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be 'whsec_' and base64") from error
    if not 24 <= size <= 64:
        raise ValueError(f"must hold 24 to 64 bytes, not {size}")
    return value


class Webhook(Contract):
    """Where a job's end and its stalls are told; ``jobs/<job>/webhook.json``. The API never shows it again."""

    url: Annotated[
        str, StringConstraints(pattern=r"^[\x21-\x7e]+$", min_length=8, max_length=2000), AfterValidator(_reachable)
    ]
    secret: Annotated[str, StringConstraints(max_length=200), AfterValidator(_secret)] | None = Field(
        default=None, repr=False
    )
    """Key of the signature: ``whsec_`` and 24 to 64 bytes in base64. None: calls are not signed."""


class Notice(Contract):
    """``webhooks/<job>-<event>.json``: exists until the call went through or was given up; create-only."""

    schema_version: Literal[1] = 1
    job: JobId
    event: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,16}-[0-9]{1,12}$")]
    """``ended-<generation>`` or ``stalled-<hour>``."""
    body: dict[str, JsonValue]
    at: Moment

    @property
    def id(self) -> str:
        """``webhook-id``: the same at every try, so that the receiver can drop a second one."""
        return f"msg_{self.job}_{self.event}"


class Delivery(Contract):
    """``jobs/<job>/webhooks/<event>.json``: what became of a notice."""

    schema_version: Literal[1] = 1
    job: JobId
    event: str
    sent: bool
    status: int | None = None
    """HTTP status of the last answer, if there was one."""
    reason: str | None = Field(default=None, max_length=500)
    """Why it was given up."""
    at: Moment

    @model_validator(mode="after")
    def _told(self) -> Self:
        if not self.sent and not self.reason:
            raise ValueError("a notice that was given up needs a reason")
        return self
