"""Presets side by side: what ``synfarm render compare`` asks for, and what it measured."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from synfarm.contracts.asking import is_none
from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.render_settings import ModelRef, RenderSettings

__all__ = ["Comparison", "ComparisonPlan", "ContrastWithFirst", "DrawnColumn", "PlannedColumn"]

_MOST_BYTES = 2 << 30
ColumnName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Distances = dict[str, float]
"""By measure, 0 for equal images: ``grey`` (mean absolute difference in grey levels of 255), ``ssim`` (1 - SSIM),
``features`` (1 - cosine of a network's features)."""


class PlannedColumn(Contract):
    """One way to draw the captions."""

    name: ColumnName
    render: RenderSettings


class ComparisonPlan(Contract):
    """The same captions and seeds, drawn by every column."""

    schema_version: Literal[1] = 1
    captions: tuple[Line, ...] = Field(min_length=1, max_length=1000)
    columns: tuple[PlannedColumn, ...] = Field(min_length=2, max_length=8)
    """The first is what the others are compared with."""
    images: int = Field(default=2, ge=2, le=16)
    """Of each caption: two at least, because the distance of two seeds tells what another distance means."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    features: str | None = Field(default=None, exclude_if=is_none)
    """Folder of the network whose features are compared; by default EfficientNet-Lite0, where it is installed."""
    clip_score: ModelRef | None = Field(default=None, exclude_if=is_none)
    """A CLIP model that scores how well each image shows its caption."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [column.name for column in self.columns]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"columns: {twice!r} stands there twice")
        sides = {column.render.size for column in self.columns}
        if len(sides) > 1:
            raise ValueError("columns: images of several sizes cannot be compared; store them at one")
        held = len(self.captions) * self.images * len(names) * 3 * sides.pop() ** 2
        if held > _MOST_BYTES:
            most = len(self.captions) * _MOST_BYTES // held
            raise ValueError(f"captions: their images would fill {held >> 30} GiB of memory; take at most {most}")
        return self


class DrawnColumn(Contract):
    """One column: its speed, and how far its own images lie apart."""

    name: ColumnName
    render: RenderSettings
    network_passes: float
    """Of one image."""
    load_seconds: float
    warm_up_seconds: float
    """Of the batch before the first round, which is drawn, timed apart and thrown away."""
    images: int
    seconds: float
    """Of all rounds."""
    images_per_second: float
    rounds: tuple[float, ...]
    """Images a second in each round; the columns take turns to be first."""
    seeds: Distances
    """Mean between images of one caption: what another seed changes."""
    captions: Distances
    """Mean between images of different captions; empty if there is one caption alone."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Mean over all images: ``clip``, if it was asked for."""
    versions: dict[str, str] = Field(default_factory=dict)


class ContrastWithFirst(Contract):
    """A column beside the first one: images of the same caption and seed."""

    name: ColumnName
    speed: float
    """Times as many images a second as the first: the median of the rounds' ratios."""
    speed_range: tuple[float, float]
    """Least and largest ratio of a round."""
    distances: Distances
    """Mean over all images."""
    by_caption: dict[str, tuple[float, ...]]
    """Mean over a caption's images, by measure, in the order of the captions."""


class Comparison(Contract):
    """``compare.json``: all numbers of one comparison."""

    schema_version: Literal[1] = 1
    at: Moment
    captions: tuple[Line, ...]
    images: int
    seed: int
    measures: dict[str, str]
    """What measured the distances, by name."""
    columns: tuple[DrawnColumn, ...]
    contrasts: tuple[ContrastWithFirst, ...]
    """Of every column but the first."""
    notes: tuple[str, ...] = ()
    """What was left out, and what would bring it in."""
