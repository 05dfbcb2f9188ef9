"""What a finished unit says of itself: the commit, the dead letter, the shard's members, the sample's JSON."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from synfarm.contracts.asking import is_none
from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.captions import DropReason
from synfarm.contracts.ids import AttemptId, CaptionId, JobId, Sha256
from synfarm.contracts.jobs import ConceptKind, Phrase
from synfarm.contracts.render_settings import LoraRef
from synfarm.contracts.renders import Stage

__all__ = ["Commit", "EmptySlot", "Failure", "FaultClass", "GroupRow", "Member", "SampleMeta", "ShardRef"]

FaultClass = Literal["unit", "lost_worker", "environment"]


class Member(Contract):
    """One file inside the shard tar: where its bytes lie in the object."""

    name: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{26}-[0-9]{10}\.[0-9a-z.]{1,16}$")]
    offset: int = Field(ge=0)
    """First byte of the content (not of the tar header) from the start of the object."""
    length: int = Field(ge=0)


class GroupRow(Contract):
    """One caption group, adjacent in the tar: its images, then its JSON."""

    index: int = Field(ge=0)
    caption_id: CaptionId
    concept: Phrase
    template: str
    kind: ConceptKind
    offset: int = Field(ge=0)
    """First byte of the group, headers included."""
    length: int = Field(gt=0)
    """Bytes of the group, headers and padding included."""
    sha256: Sha256
    """Of exactly those bytes, so that a range read can be proven."""
    members: tuple[Member, ...] = Field(min_length=2)
    scores: dict[str, float] = Field(default_factory=dict)
    """Of the text: ``near0`` … ``near2``, ``second`` (see the caption record). Of the images, if the job asks for it:
    ``clip`` (cosine of image and caption, mean over the images) and ``clip_min`` (the least of them); ``nsfw`` (the
    largest of cosine - threshold over a safety checker's concepts and the images: above 0 it would hide one)."""


class EmptySlot(Contract):
    """A planned caption without images, and why."""

    index: int = Field(ge=0)
    caption_id: CaptionId
    reason: DropReason


class ShardRef(Contract):
    """A shard as the commit names it."""

    key: str = Field(min_length=1, max_length=512)
    sha256: Sha256
    size: int = Field(ge=0)


class Commit(Contract):
    """``jobs/<job>/commits/<fan>/<unit>.json``: the unit exists because this object does."""

    schema_version: Literal[1] = 1
    job: JobId
    unit: int = Field(ge=0)
    attempt: AttemptId
    worker: str
    committed_at: Moment
    shard: ShardRef | None
    """None if every slot of the unit is empty."""
    groups: tuple[GroupRow, ...]
    empty: tuple[EmptySlot, ...] = ()
    captions_sha256: Sha256
    """Of the JSONL that was rendered."""
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by stage: render, encode (summed over threads), upload, total; and cost: what it took of its worker, less
    than total where units overlap."""
    measures: dict[str, float] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """What a model's renderer tells: batch (images), denoise_ms_per_step, vae_ms and text_ms (an image), truncated
    (captions longer than its text encoder reads)."""
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.shard is None) != (not self.groups):
            raise ValueError("a shard is named exactly when there are groups")
        return self

    @property
    def images(self) -> int:
        return sum(len(g.members) - 1 for g in self.groups)


class Failure(Contract):
    """``jobs/<job>/failures/<fan>/<unit>.json``: a dead letter; a commit always outranks it."""

    schema_version: Literal[1] = 1
    job: JobId
    unit: int = Field(ge=0)
    stage: Stage
    fault: FaultClass
    reason: str = Field(max_length=2000)
    count: int = Field(ge=1)
    at: Moment


class SampleMeta(Contract):
    """``<caption_id>.json`` in the shard: enough to draw any image of the group again."""

    schema_version: Literal[1] = 1
    caption_id: CaptionId
    caption: str
    concept: Phrase
    kind: ConceptKind
    template: str
    second: str | None
    seeds: tuple[int, ...]
    """One per image, in order."""
    renderer: str
    model: str | None
    revision: str | None
    sampler: str | None
    steps: int | None
    guidance: float | None
    guidance_until: float | None = Field(default=None, exclude_if=is_none)
    """Share of the steps that were guided, if not all."""
    lora: LoraRef | None = Field(default=None, exclude_if=is_none)
    render_size: int
    size: int
    image_format: str
    quality: int
    scenes: tuple[dict[str, object], ...] = ()
    """What a scene renderer drew, one record an image; empty for diffusion."""
    versions: dict[str, str] = Field(default_factory=dict)
