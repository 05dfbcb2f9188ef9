"""What to caption, and by which prompts: the part of a request that a job and a try of its prompts share."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

from synfarm.contracts.base import Contract, FieldFault
from synfarm.contracts.concepts import Phrase
from synfarm.contracts.origins import Mix, PoolFile, SetName, Template, Variant

__all__ = ["Asking", "Backgrounds", "check_spellings", "is_none"]

Settings = Annotated[tuple[Phrase, ...], Field(min_length=1, max_length=1000)]
Backgrounds = Settings | Annotated[dict[Phrase, Settings], Field(min_length=1, max_length=50_000)]
_TOLERANCE = 1e-6
"""By which shares may miss 1."""


def is_none(value: object) -> bool:
    """Fields that are left out of the JSON when they say nothing: readers of an older version then still read it."""
    return value is None


def check_spellings(backgrounds: Backgrounds | None) -> None:
    """Each concept has one list: names that differ in case alone are one concept.

    Raises:
        FieldFault: two are; for a validator of the object whose field ``backgrounds`` it is.
    """
    seen: dict[str, str] = {}
    for name in backgrounds if isinstance(backgrounds, dict) else ():
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            told = f"backgrounds name {other!r} and {name!r}, which are one concept; put their settings into one list"
            raise FieldFault(told, "backgrounds", name)


class Asking(Contract):
    """Named concepts beside a plain list of them, and what prompts are made of."""

    concept_set: SetName | None = Field(default=None, exclude_if=is_none)
    """A set that ships or one of your own, by name."""
    mix: Mix | None = Field(default=None, exclude_if=is_none)
    """Several sets at once: ``paper`` (table 11), ``release``, or shares of sets by name."""
    variant: Variant | None = Field(default=None, exclude_if=is_none)
    """A caption set of table 2; ``cc12m`` goes with ``captions_from``."""
    templates: dict[Template, Annotated[float, Field(ge=0, le=1)]] | None = Field(default=None, exclude_if=is_none)
    """Shares of the prompts ``c``, ``c,bg`` and ``c,rel`` for objects; places and textures use ``c`` (paper 3.4)."""
    backgrounds: Backgrounds | None = Field(default=None, exclude_if=is_none)
    """Settings for ``c,bg`` in place of those that ship: a list for all concepts, or a list by concept."""
    examples: PoolFile | None = Field(default=None, exclude_if=is_none)

    def check_asking(self, named: list[str], choices: tuple[str, ...]) -> None:
        """Exactly one of ``choices`` is in ``named``, the fields that say what to caption; the others go with it.

        Raises:
            ValueError: tells which do not, and the cure.
        """
        if len(named) != 1:
            found = f"the body has {' and '.join(named)}" if named else "the body has none of them"
            raise ValueError(f"say what to caption by exactly one of {', '.join(choices)}; {found}")
        check_spellings(self.backgrounds)
        self._check_templates(named[0])
        if isinstance(self.mix, dict):
            _sum_to_one("mix", self.mix)

    def _check_templates(self, named: str) -> None:
        fixed = named in {"variant", "captions_from"} or isinstance(self.mix, str)
        if fixed and self.templates is not None:
            raise ValueError(
                f"templates: {named} has its own; leave them out, or ask for concepts, a set or own shares"
            )
        if self.backgrounds is not None and named not in {"concepts", "concept_set"}:
            raise ValueError("backgrounds go with concepts or concept_set; leave them out")
        if self.examples is not None and named == "captions_from":
            raise ValueError("examples are for prompts, and captions_from needs none; leave them out")
        if self.templates is None:
            return
        strange = [template.value for template in self.templates if not template.is_prompt]
        if strange:
            raise ValueError(f"templates: {strange[0]!r} is no prompt; the prompts are 'c', 'c,bg' and 'c,rel'")
        _sum_to_one("templates", self.templates)


def _sum_to_one(name: str, shares: dict[Any, float]) -> None:
    total = math.fsum(shares.values())
    if abs(total - 1) > _TOLERANCE:
        cure = ", ".join(f"{key}: {share / total:.6g}" for key, share in shares.items()) if total else "none is above 0"
        raise ValueError(f"the shares of {name} sum to {total:.6g}, not to 1; in the same proportions: {cure}")
