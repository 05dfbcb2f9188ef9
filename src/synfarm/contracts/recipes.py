"""The recipe: the frozen caption machine of a job, stored once under its hash, shared by every job that uses it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from synfarm.contracts.base import Contract
from synfarm.contracts.concepts import Concept, Phrase
from synfarm.contracts.origins import RecipeName, RecipeRef, Template

__all__ = ["POOLS", "PoolExample", "PoolName", "Recipe", "Source"]

PoolName = Literal["object", "place", "texture", "background", "relation"]
POOLS: tuple[PoolName, ...] = ("object", "place", "texture", "background", "relation")
"""The first three are the pools of the ``c`` prompt by kind of concept, then those of ``c,bg`` and ``c,rel``."""


class PoolExample(Contract):
    """One in-context example; its id stands in the caption record."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
    pool: PoolName
    concept: Phrase
    second: Phrase | None = None
    caption: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\r\n]+$")]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.second is not None) != (self.pool in {"background", "relation"}):
            raise ValueError("second is set for the pools 'background' and 'relation', and for no other")
        if "=>" in self.caption:
            raise ValueError("caption must not hold '=>', which separates the fields of a prompt")
        return self


class Source(Contract):
    """Concepts that are drawn alike: uniformly, with one set of template weights."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    weight: float = Field(gt=0)
    """Share of the captions, relative to the other sources."""
    concepts: tuple[Concept, ...] = Field(min_length=1, max_length=100_000)
    templates: dict[Template, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Relative weights."""
    backgrounds: tuple[tuple[Phrase, ...], ...] = ()
    """Groups of settings (for joined captions: of places)."""
    background_of: tuple[int, ...] = ()
    """For each concept the index of its group."""
    hypernyms: tuple[tuple[Phrase, ...], ...] = ()
    """For each concept of joined captions, from the nearest on."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        needs_second = {Template.BACKGROUND, Template.JOINED} & self.templates.keys()
        if needs_second and len(self.background_of) != len(self.concepts):
            raise ValueError(f"source {self.name!r}: every concept needs a group of backgrounds")
        if any(not 0 <= group < len(self.backgrounds) or not self.backgrounds[group] for group in self.background_of):
            raise ValueError(f"source {self.name!r}: a concept's group of backgrounds is missing or empty")
        if Template.JOINED in self.templates and len(self.hypernyms) != len(self.concepts):
            raise ValueError(f"source {self.name!r}: every concept needs its hypernyms")
        if Template.GIVEN in self.templates:
            raise ValueError(f"source {self.name!r}: captions of a file have no recipe")
        return self


class Recipe(Contract):
    """``recipes/<sha256>.json``: everything that a draw looks at beside the seed and the index."""

    schema_version: Literal[1] = 1
    name: RecipeName
    sources: tuple[Source, ...] = Field(min_length=1, max_length=1000)
    relations: tuple[Phrase, ...] = ()
    pools: tuple[PoolExample, ...] = ()
    """Of all pools, in the order that draws count them by."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        templates = {template for source in self.sources for template in source.templates}
        if Template.RELATION in templates and not self.relations:
            raise ValueError("template 'c,rel' needs relations")
        if Template.JOINED in templates and len(templates) > 1:
            raise ValueError("joined captions and prompts do not mix in one recipe")
        return self

    @property
    def asks(self) -> bool:
        """Whether its captions are asked of a language model."""
        return Template.JOINED not in self.sources[0].templates

    def sha256(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def ref(self) -> RecipeRef:
        """What a job's spec says of it."""
        return RecipeRef(
            sha256=self.sha256(),
            name=self.name,
            concepts=sum(len(source.concepts) for source in self.sources),
            sources=len(self.sources),
        )
