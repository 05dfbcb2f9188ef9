"""Messages of the queue: a hint that names a unit and holds nothing that the store does not know."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from synfarm.contracts.base import Contract
from synfarm.contracts.ids import JobId
from synfarm.contracts.jobs import Lane

__all__ = ["CAPTION_TASK", "RENDER_TASK", "Stage", "UnitTask", "caption_queue", "render_queue"]

CAPTION_TASK = "caption.unit"
RENDER_TASK = "render.unit"


class Stage(StrEnum):
    """The two kinds of work that a unit passes through."""

    CAPTION = "caption"
    RENDER = "render"


class UnitTask(Contract):
    """Body of ``caption.unit`` and ``render.unit``."""

    schema_version: Literal[1] = 1
    job: JobId
    unit: int = Field(ge=0, lt=10**8)
    stage: Stage
    queue: str = Field(min_length=1, max_length=120, pattern=r"^[a-z0-9.-]+$")
    sequence: int = Field(ge=0)
    """Rises with every message sent to this queue; the feeder infers from it that an older message is gone."""


def caption_queue(lane: Lane) -> str:
    return f"caption.{lane.value}"


def render_queue(capability: str, lane: Lane) -> str:
    return f"render.{capability}.{lane.value}"
