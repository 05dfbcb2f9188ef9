"""A user's own concept set: what is sent, and what the store holds of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from synfarm.contracts.asking import Backgrounds, check_spellings, is_none
from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.concepts import ConceptKind, Concepts
from synfarm.contracts.ids import Name, Sha256
from synfarm.contracts.origins import OwnSetName

__all__ = ["MOST_OWN_SETS", "ConceptSetHead", "ConceptSetRequest", "SetTitle"]

MOST_OWN_SETS = 200
"""Of one owner, so that a list of them stays one request to the store and a few small ones."""

SetTitle = Annotated[str, StringConstraints(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A line for people; may be empty."""


class ConceptSetRequest(Contract):
    """Body of ``PUT /v1/concept-sets/{name}``. A concept may be given as a bare string."""

    concepts: Concepts = Field(min_length=1, max_length=50_000)
    backgrounds: Backgrounds | None = Field(default=None, exclude_if=is_none)
    """Settings for ``c,bg``, as a job takes them: a list for all concepts, or a list by concept."""
    title: SetTitle = ""

    @model_validator(mode="after")
    def _one_list_a_concept(self) -> Self:
        check_spellings(self.backgrounds)
        return self


class ConceptSetHead(Contract):
    """First line of ``concept-sets/<owner hash>/<name>.jsonl``; the second is the request, as canonical JSON.

    Both are one object: what is replaced is replaced as a whole.
    """

    schema_version: Literal[1] = 1
    name: OwnSetName
    owner: Name
    title: SetTitle
    concepts: int = Field(ge=1)
    kinds: tuple[ConceptKind, ...] = Field(min_length=1)
    sha256: Sha256
    """Of the second line, without its end."""
    at: Moment
