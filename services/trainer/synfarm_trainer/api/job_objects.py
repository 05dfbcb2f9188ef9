"""Objects of a job that cannot be read, as whoever asked for the job is told: of a newer version, or broken."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import ValidationError

from synfarm.contracts.base import Contract
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.versions import beyond

__all__ = ["owner_in", "read_as", "unreadable"]

ContractT = TypeVar("ContractT", bound=Contract)


def read_as(kind: type[ContractT], data: bytes, job: str, key: str) -> ContractT:
    """What an object of a job holds.

    Raises:
        ProblemError: 409 it cannot be read.
    """
    try:
        return kind.from_bytes(data)
    except ValidationError as error:
        raise unreadable(job, key, error) from error


def unreadable(job: str, key: str, error: ValidationError) -> ProblemError:
    """409. What a newer version wrote is whole: this trainer is what has to change (decision 15)."""
    if (newer := beyond(error)) is not None:
        return ProblemError(
            409,
            "job_of_newer_version",
            f"This trainer does not read {key}: {newer}.",
            field="jobs",
            hint="A newer synfarm wrote it. Upgrade the trainer, or name a job of this version.",
        )
    fault = error.errors()[0]
    return ProblemError(
        409,
        "job_not_usable",
        f"{key} cannot be read: {'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}",
        field="jobs",
        hint=f"`synfarm verify {job}` tells what else is damaged; restore it from a backup, or name another job.",
    )


def owner_in(spec: bytes) -> str | None:
    """Of a job's spec, which need not be one that can be read; None if it names nobody."""
    try:
        owner = json.loads(spec)["owner"]
    except (LookupError, TypeError, ValueError):
        return None
    return owner if isinstance(owner, str) else None
