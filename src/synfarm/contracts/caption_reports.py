"""What a job's captions are like: exact totals from its counters, everything else from a sample whose size is told."""

from __future__ import annotations

from pydantic import Field

from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.ids import JobId
from synfarm.contracts.jobs import JobState

__all__ = [
    "CaptionReport",
    "CaptionSample",
    "ConceptCount",
    "ConceptSpread",
    "Distinct",
    "NearDuplicates",
    "TemplateCount",
    "WordCounts",
]


class CaptionSample(Contract):
    """Which captions were read: those of whole units, spread evenly over what is written."""

    units: int = Field(ge=0)
    of_units: int = Field(ge=0)
    """Units that are known to be written."""
    captions: int = Field(ge=0)
    """Planned captions in the sample's units, kept and empty."""
    kept: int = Field(ge=0)
    draws: int = Field(ge=0)
    damaged: int = Field(default=0, ge=0)
    """Units that were left out because what is stored of them cannot be read."""


class WordCounts(Contract):
    """How long the sample's captions are, in words."""

    mean: float
    median: int
    p95: int
    """95 of 100 captions have at most so many."""
    histogram: dict[int, int]
    """Captions by their number of words."""


class Distinct(Contract):
    """Distinct n-grams as a share of all n-grams: 1 if nothing is ever said twice (Li et al., 2016).

    The share falls with the length of the text, so it is taken over at most 1,000 captions; compare jobs where
    ``captions`` is equal.
    """

    captions: int = Field(ge=0)
    distinct_1: float = Field(ge=0, le=1)
    distinct_2: float = Field(ge=0, le=1)
    distinct_3: float = Field(ge=0, le=1)


class ConceptCount(Contract):
    """One concept in the sample."""

    concept: str
    planned: int = Field(ge=0)
    """Captions planned with it."""
    kept: int = Field(ge=0)
    draws: int = Field(ge=0)
    """Texts asked for; ``kept / draws`` tells how hard the language model finds it."""


class ConceptSpread(Contract):
    """How the sample's kept captions are spread over concepts."""

    planned: int = Field(ge=0)
    """Concepts of the sample's planned captions."""
    kept: int = Field(ge=0)
    """Concepts that at least one kept caption has."""
    evenness: float = Field(ge=0, le=1)
    """Entropy of the kept captions' concepts over the largest that so many captions and concepts allow."""
    most: tuple[ConceptCount, ...]
    """Concepts with most kept captions."""
    fewest: tuple[ConceptCount, ...]
    """Concepts that lost most of their planned captions, by share; those that lost none are not listed."""
    hardest: tuple[ConceptCount, ...]
    """Concepts with the smallest share of kept texts, of those that were planned at least three times."""


class TemplateCount(Contract):
    """One template in the sample."""

    planned: int = Field(ge=0)
    kept: int = Field(ge=0)
    draws: int = Field(ge=0)
    second_named: float | None = Field(default=None, ge=0, le=1)
    """Share of the kept captions that take up their background or relation; the gate does not ask for it."""


class NearDuplicates(Contract):
    """Captions of different units that say nearly the same of the same concept and background.

    Inside a unit none are left. Jaccard likeness of 0.7 and more of the words beyond concept, background and function
    words, and of their pairs.
    """

    captions: int = Field(ge=0)
    """Captions compared."""
    repeats: int = Field(ge=0)
    """Of these, captions with a near duplicate before them."""
    share: float = Field(ge=0, le=1)
    """``repeats / captions``. In the whole job it is larger, for each caption has more others."""
    pairs: int = Field(ge=0)
    twins_per_caption: float | None = Field(default=None, ge=0)
    """Near duplicates of a caption to be expected in the whole job: pairs of the sample, scaled to all of its written
    captions. None if the sample has captions of one unit only."""
    twins_at_most: float | None = Field(default=None, ge=0)
    """The same, 95 % sure: a sample without a single pair tells no more than this."""


class CaptionReport(Contract):
    """``GET /v1/jobs/{id}/report``."""

    job: JobId
    state: JobState
    as_of: Moment
    """Of the totals."""
    planned: int = Field(ge=0)
    written: int = Field(ge=0)
    """Captions kept so far."""
    empty: int = Field(ge=0)
    """Slots left empty, of the units that are committed."""
    draws: int = Field(ge=0)
    """Texts asked of the language model."""
    acceptance: float | None = Field(default=None, ge=0)
    """``written / draws``; None where no language model was asked."""
    rejections: dict[str, int]
    """Texts refused, by reason."""
    sample: CaptionSample
    empty_reasons: dict[str, int]
    """Of the sample: the last refusal of each empty slot."""
    words: WordCounts | None
    """None, like the next, if the sample holds no kept caption."""
    distinct: Distinct | None
    concepts: ConceptSpread
    templates: dict[str, TemplateCount]
    near_duplicates: NearDuplicates
