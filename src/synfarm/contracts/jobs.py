"""The job: what a user asks for, and the frozen spec that is made of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from synfarm.contracts.asking import Asking, is_none
from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.concepts import Concept, ConceptKind, Concepts, Phrase
from synfarm.contracts.ids import JobId, Name
from synfarm.contracts.imports import ImportRef
from synfarm.contracts.origins import (
    CaptionFileRef,
    CaptionJobRef,
    CaptionsFrom,
    Layout,
    RecipeRef,
    Template,
    Variant,
)
from synfarm.contracts.render_settings import RenderSettings
from synfarm.contracts.webhooks import Webhook

__all__ = [
    "CaptionSettings",
    "Concept",
    "ConceptKind",
    "Concepts",
    "JobRequest",
    "JobSpec",
    "JobState",
    "Lane",
    "Phrase",
    "RenderSettings",
    "Template",
]


class Lane(StrEnum):
    """Priority lanes; each queue exists once a lane."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in {
            JobState.CANCELLED,
            JobState.COMPLETED,
            JobState.COMPLETED_WITH_ERRORS,
            JobState.FAILED,
        }


_TOLD = 8
"""Concepts that a job's origin names."""


class CaptionSettings(Contract):
    """How captions are asked for and which are kept (method section 1.3; the gate is ours)."""

    template: Literal["c"] = "c"
    """Of a plain list of concepts; a recipe has its own templates."""
    layout: Layout = Field(default=Layout.PLAIN, exclude_if=lambda value: value == Layout.PLAIN)
    temperature: float = Field(default=0.8, gt=0, le=2)
    top_p: float = Field(default=0.9, gt=0, lt=1)
    max_new_tokens: int = Field(default=100, ge=4, le=512)
    min_words: int = Field(default=4, ge=1, le=50)
    max_words: int = Field(default=40, ge=2, le=200)
    examples_per_draw: int = Field(default=1, ge=1, le=1024)
    """Captions in sequence that share one draw of in-context examples, for the LLM server's prefix cache; 1: paper."""
    max_redraws: int = Field(default=8, ge=0, le=64)
    """Draws after the first; a caption rejected by all of them leaves its slot empty."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words ({self.min_words}) must not exceed max_words ({self.max_words})")
        return self


class _JobBody(Contract):
    name: Name = "job"
    concepts: Concepts = Field(default=(), min_length=1, max_length=50_000, exclude_if=lambda value: not value)
    concept_draw: Literal["uniform", "balanced"] = "uniform"
    """``uniform``: each caption draws its concept alone (paper); ``balanced``: each run of len(concepts) captions
    holds every concept once, in keyed random order."""
    captions: int = Field(ge=1, le=2_000_000_000)
    """Captions planned; the job makes this many less the slots it lists as empty."""
    images_per_caption: int = Field(default=4, ge=1, le=64)
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    caption: CaptionSettings = CaptionSettings()
    render: RenderSettings = RenderSettings()
    lane: Lane = Lane.NORMAL
    error_budget: float = Field(default=0.05, ge=0, le=1)
    """Largest share of dead units with which the job still ends ``completed_with_errors`` and not ``failed``."""


_WHAT = ("concepts", "concept_set", "mix", "variant", "captions_from")


class JobRequest(Asking, _JobBody):
    """Body of ``POST /v1/jobs``: exactly one of ``concepts``, ``concept_set``, ``mix``, ``variant``, ``captions_from``.

    A concept may be given as a bare string.
    """

    captions_from: CaptionsFrom | None = Field(default=None, exclude_if=is_none)
    webhook: Webhook | None = Field(default=None, exclude_if=is_none)
    """Called when the job ends, and when it stalls; it is kept apart from the spec, and never shown again."""
    captions_per_unit: int | None = Field(default=None, ge=1, le=1024)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        named = [name for name in _WHAT if getattr(self, name)]
        if self.variant is Variant.CC12M:
            if self.captions_from is None:
                raise ValueError('variant cc12m are captions of your own: add "captions_from": {"file": NAME}')
            named.remove("variant")
        self.check_asking(named, _WHAT)
        if self.mix is not None and self.concept_draw == "balanced":
            raise ValueError("concept_draw 'balanced' needs one list or set of concepts; a mix draws by its shares")
        return self


class JobSpec(_JobBody):
    """``jobs/<job>/job.json``: frozen for the life of the job, create-only.

    Its captions come from ``concepts``, or by ``recipe``; those of ``captions_from`` exist already, and the other two
    then tell what they were drawn from, as far as that is known. A job with a ``source`` was imported: its ``concepts``
    are the classes of its images, and of ``render`` only format, quality and size hold, the longest side of an image.
    """

    schema_version: Literal[1] = 1
    recipe: RecipeRef | None = Field(default=None, exclude_if=is_none)
    captions_from: CaptionFileRef | CaptionJobRef | None = Field(default=None, exclude_if=is_none)
    source: ImportRef | None = Field(default=None, exclude_if=is_none)
    """Set where nothing was drawn: the job's images are files that were imported."""
    job: JobId
    owner: Name
    created_at: Moment
    captions_per_unit: int = Field(ge=1, le=1024)

    @model_validator(mode="after")
    def _has_origin(self) -> Self:
        if self.concepts and self.recipe is not None:
            raise ValueError("concepts and recipe exclude each other")
        if self.source is not None:
            if self.recipe is not None or self.captions_from is not None:
                raise ValueError("an imported job has neither recipe nor captions_from")
        elif not self.concepts and self.recipe is None and self.captions_from is None:
            raise ValueError("one of concepts, recipe, captions_from and source must be set")
        return self

    @property
    def draw_seed(self) -> int:
        """The seed that decides concept, template and second field of each caption."""
        return self.captions_from.seed if isinstance(self.captions_from, CaptionJobRef) else self.seed

    @property
    def concept_count(self) -> int:
        """How many concepts the captions are drawn from; 0 for a file, of which nobody knows."""
        return len(self.concepts) or (self.recipe.concepts if self.recipe is not None else 0)

    @property
    def origin(self) -> str:
        """In words: what the captions are drawn from."""
        if self.source is not None and not self.concepts:
            return f"none; {self._imported}"
        if isinstance(self.captions_from, CaptionFileRef):
            return f"file {self.captions_from.file!r} of {self.captions_from.lines} captions"
        if isinstance(self.captions_from, CaptionJobRef) and not self.concept_count:
            return f"captions of job {self.captions_from.job}"
        if self.recipe is not None:
            drawn = f"{self.recipe.name} ({self.recipe.concepts} concepts)"
        else:
            names = [concept.name for concept in self.concepts[:_TOLD]]
            more = f" and {len(self.concepts) - _TOLD} more" if len(self.concepts) > _TOLD else ""
            drawn = f"{len(self.concepts)}: {', '.join(names)}{more}"
        if self.source is not None:
            return f"{drawn}; {self._imported}"
        return f"{drawn}, captions of job {self.captions_from.job}" if self.captions_from is not None else drawn

    @property
    def made_by(self) -> str:
        """In words: what drew the images, or where they were imported from."""
        if self.source is not None:
            return self._imported
        return " ".join(filter(None, (self.render.renderer, self.render.model, self.render.revision)))

    @property
    def _imported(self) -> str:
        assert self.source is not None
        return f"{self.source.files} images imported from {self.source.kind} {self.source.where!r}"

    @property
    def units(self) -> int:
        return -(-self.captions // self.captions_per_unit)

    def unit_range(self, unit: int) -> range:
        """Caption indices of a unit.

        Raises:
            ValueError: the job has no such unit.
        """
        if not 0 <= unit < self.units:
            raise ValueError(f"job {self.job} has units 0 to {self.units - 1}, not {unit}")
        start = unit * self.captions_per_unit
        return range(start, min(start + self.captions_per_unit, self.captions))
