"""Pages and lists that the HTTP APIs answer with; ``next_cursor`` is None at the end of what there is."""

from __future__ import annotations

from pydantic import Field, JsonValue

from synfarm.contracts.asking import Backgrounds, is_none
from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.commits import Failure
from synfarm.contracts.jobs import Concept, ConceptKind
from synfarm.contracts.manifests import ManifestLine
from synfarm.contracts.runs import CheckpointCommit, StepMetrics

__all__ = [
    "Artifact",
    "ArtifactList",
    "CaptionPage",
    "CheckpointInfo",
    "CheckpointList",
    "ConceptSet",
    "ConceptSetInfo",
    "ConceptSetList",
    "EvalTable",
    "FailurePage",
    "MetricsPage",
    "ShardPage",
]


def _is_false(value: object) -> bool:
    """Of sets that ship nothing is said of owners: a client of an older version reads them as before."""
    return value is False


class CaptionPage(Contract):
    """``GET /v1/jobs/{id}/captions``."""

    items: tuple[CaptionRecord, ...]
    next_cursor: int | None = None
    """Caption index to go on from; None at the end of what is written so far."""


class FailurePage(Contract):
    """``GET /v1/jobs/{id}/failures``."""

    items: tuple[Failure, ...]
    next_cursor: int | None = None
    """Unit to go on from."""


class ShardPage(Contract):
    """``GET /v1/jobs/{id}/shards``."""

    items: tuple[ManifestLine, ...]
    next_cursor: int | None = None
    """Unit to go on from."""


class ConceptSet(Contract):
    """``GET /v1/concept-sets/{name}``."""

    name: str
    concepts: tuple[Concept, ...]
    own: bool = Field(default=False, exclude_if=_is_false)
    """Yours: it came by ``PUT``."""
    title: str | None = Field(default=None, exclude_if=is_none)
    """Of an own set."""
    backgrounds: Backgrounds | None = Field(default=None, exclude_if=is_none)
    """Of an own set, as it was sent."""


class ConceptSetInfo(Contract):
    """What is known of a set without reading it."""

    name: str
    title: str
    concepts: int = Field(ge=1)
    kinds: tuple[ConceptKind, ...]
    source: str
    """Where the names come from."""
    note: str = ""
    """What was left out, merged or added."""
    own: bool = Field(default=False, exclude_if=_is_false)
    """Yours: nobody else sees it."""
    stored_at: Moment | None = Field(default=None, exclude_if=is_none)
    """When an own set was stored last."""


class ConceptSetList(Contract):
    """``GET /v1/concept-sets?about=true``."""

    items: tuple[ConceptSetInfo, ...]


class MetricsPage(Contract):
    """``GET /v1/runs/{id}/metrics``."""

    items: tuple[StepMetrics, ...]
    next_since: int
    """Pass as ``since`` for what comes after."""


class CheckpointInfo(CheckpointCommit):
    """A committed checkpoint and what the store has of it."""

    bytes: int = Field(ge=0)
    """Of all its files."""
    whole: bool
    """Every file is there in the size that the commit names. Their content is only read by a run that resumes."""


class CheckpointList(Contract):
    """``GET /v1/runs/{id}/checkpoints``: the one that counts is last."""

    items: tuple[CheckpointInfo, ...]


class EvalTable(Contract):
    """``GET /v1/runs/{id}/evals``: records by step, then by name."""

    evals: dict[str, JsonValue]


class Artifact(Contract):
    """One file that a run exports."""

    name: str
    size: int = Field(ge=0)
    """Bytes."""
    media_type: str = "application/octet-stream"
    modified_at: Moment | None = None
    """By the store's clock."""


class ArtifactList(Contract):
    """``GET /v1/runs/{id}/artifacts``."""

    items: tuple[Artifact, ...]
