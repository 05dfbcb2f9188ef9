"""Messages of the queue: a hint that names a unit and holds nothing that the store does not know."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field

from synfarm.contracts.base import Contract
from synfarm.contracts.ids import JobId
from synfarm.contracts.jobs import Lane
from synfarm.contracts.versions import FIRST

__all__ = ["CAPTION", "CAPTION_TASK", "RENDER_TASK", "Stage", "UnitTask", "caption_queue", "render_queue", "skill"]

CAPTION = "caption"
"""What a caption worker serves, beside the capabilities of render workers."""

CAPTION_TASK = "caption.unit"
RENDER_TASK = "render.unit"


class Stage(StrEnum):
    """The two kinds of work that a unit passes through."""

    CAPTION = "caption"
    RENDER = "render"


class UnitTask(Contract):
    """Body of ``caption.unit`` and ``render.unit``. What these fields mean never changes: see :meth:`from_message`."""

    schema_version: Literal[1] = 1
    job: JobId
    unit: int = Field(ge=0, lt=10**8)
    stage: Stage
    queue: str = Field(min_length=1, max_length=120, pattern=r"^[a-z0-9.-]+$")
    sequence: int = Field(ge=0)
    """Rises with every message sent to this queue; the feeder infers from it that an older message is gone."""

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Self:
        """As it came from the queue; fields of a newer sender are left out, since a hint holds nothing that counts.

        Raises:
            pydantic.ValidationError: it names no unit that this version can take.
        """
        return cls.model_validate(message, extra="ignore")


def skill(what: str, version: int) -> str:
    """What a worker must serve for a job: :data:`CAPTION` or a capability, with the contract of the job's spec if that
    is not the first one. Part of the queue's name, so that an older worker never meets a newer job."""
    return what if version == FIRST else f"{what}.v{version}"


def caption_queue(lane: Lane, version: int = FIRST) -> str:
    return f"{skill(CAPTION, version)}.{lane.value}"


def render_queue(what: str, lane: Lane) -> str:
    """``what``: a :func:`skill` of render workers."""
    return f"render.{what}.{lane.value}"
