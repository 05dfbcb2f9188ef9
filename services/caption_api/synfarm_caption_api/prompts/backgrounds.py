"""Backgrounds as a user gives them, for all concepts or by concept, checked against the concepts that there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from synfarm.contracts.asking import Backgrounds
from synfarm.contracts.problems import ProblemError

__all__ = ["backgrounds_by_name"]


def backgrounds_by_name(backgrounds: Backgrounds, names: Iterable[str], whose: str) -> dict[str, tuple[str, ...]]:
    """The backgrounds by concept in lower case; '' stands for every concept.

    Args:
        names: of the concepts that there are.
        whose: "job" or "set", for the sentence about a name that is none of them.

    Raises:
        ProblemError: 422, they name a concept that there is not.
    """
    if not isinstance(backgrounds, dict):
        return {"": backgrounds}
    known = {name.casefold(): name for name in names}
    for name in backgrounds:
        if name.casefold() not in known:
            near = [known[key] for key in difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.6)]
            hint = f"Did you mean {' or '.join(near)}?" if near else "Leave it out, or add the concept."
            detail = f"backgrounds names {name!r}, which is no concept of this {whose}."
            raise ProblemError(422, "unknown_concept", detail, field=f"backgrounds.{name}"[:120], hint=hint)
    return {name.casefold(): settings for name, settings in backgrounds.items()}
