"""``Idempotency-Key``: one key makes one object, whatever is lost on the way; kept in the store."""

from __future__ import annotations

import hashlib
from typing import Literal

from synfarm.contracts import layout
from synfarm.contracts.base import Contract, Moment, utc_now
from synfarm.contracts.ids import Sha256, UlidStr, check_idempotency_key
from synfarm.contracts.problems import ProblemError
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["IdempotencyRecord", "claim", "recall"]


class IdempotencyRecord(Contract):
    """``idempotency/<hash>.json``: written before anything else of the request."""

    schema_version: Literal[1] = 1
    body_sha256: Sha256
    id: UlidStr
    """Of the job or run that the key stands for; whether it exists yet is another question."""
    at: Moment


def claim(store: ObjectStore, *, owner: str, route: str, key: str, body: bytes, new_id: str) -> IdempotencyRecord:
    """The record of ``key``: a new one with ``new_id``, or the one of the first request.

    The caller then makes whatever of the object does not exist yet under ``record.id``; a replay thereby completes a
    half-made one. ``body`` is the canonical form of the request, so that spaces and defaults do not matter.

    Raises:
        ProblemError: 422, the key is malformed; 409, it was used with another body.
    """
    try:
        check_idempotency_key(key)
    except ValueError:
        raise ProblemError(
            422,
            "invalid_idempotency_key",
            "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.",
            field="Idempotency-Key",
            hint="Send a random UUID, and the same one when you repeat the request.",
        ) from None
    mine = IdempotencyRecord(body_sha256=hashlib.sha256(body).hexdigest(), id=new_id, at=utc_now())
    name = layout.idempotency(owner, route, key)
    if store.create(name, mine.to_bytes()):
        return mine
    first = IdempotencyRecord.from_bytes(store.get(name))
    if first.body_sha256 != mine.body_sha256:
        raise ProblemError(
            409,
            "idempotency_key_reused",
            f"This Idempotency-Key was used for {first.id} with another body.",
            field="Idempotency-Key",
            hint="Send a new key for a new request, or the same body as before.",
        )
    return first


def recall(store: ObjectStore, *, owner: str, route: str, key: str) -> IdempotencyRecord | None:
    """What a key stands for already, if anything."""
    try:
        return IdempotencyRecord.from_bytes(store.get(layout.idempotency(owner, route, key)))
    except ObjectMissing:
        return None
