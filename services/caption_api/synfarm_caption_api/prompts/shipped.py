"""The concept sets that ship, as recipes draw from them."""

from __future__ import annotations

from collections.abc import Sequence

from synfarm.concepts import held_out_names, hypernyms, load, set_names
from synfarm.concepts.backgrounds import shipped
from synfarm.contracts.concepts import Concept
from synfarm_caption_api.prompts.library import Settings

__all__ = ["ShippedLibrary"]


class ShippedLibrary:
    """Implements :class:`synfarm_caption_api.prompts.library.Library` over :mod:`synfarm.concepts`; thread-safe."""

    def names(self) -> Sequence[str]:
        return set_names()

    def has(self, name: str) -> bool:
        return name in set_names()

    def held_out(self) -> Sequence[str]:
        return held_out_names()

    def concepts(self, name: str) -> tuple[Concept, ...]:
        return load(name)

    def settings(self, name: str) -> Settings | None:
        found = shipped(name)
        return Settings(found.groups, found.of) if found.groups else None

    def hypernyms(self, name: str) -> tuple[tuple[str, ...], ...] | None:
        return hypernyms(name)
