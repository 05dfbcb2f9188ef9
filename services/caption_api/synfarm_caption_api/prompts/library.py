"""The seam to the concept sets: their concepts, their backgrounds, the hypernyms; and a fake for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from synfarm.contracts.concepts import Concept

__all__ = ["FakeLibrary", "Library", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Backgrounds of a set: groups, and for each concept the index of its group, -1 if it has none."""

    groups: tuple[tuple[str, ...], ...]
    of: tuple[int, ...]


class Library(Protocol):
    """Of what ships every answer is the same for the life of the process; of own sets, for that of a request."""

    def names(self) -> Sequence[str]:
        """Sets that jobs may draw from."""

    def has(self, name: str) -> bool:
        """Whether it is one of ``names()``."""

    def held_out(self) -> Sequence[str]:
        """Sets that are known and stay out of pre-training (paper, table 9)."""

    def concepts(self, name: str) -> tuple[Concept, ...]:
        """The concepts of one of ``names()``."""

    def settings(self, name: str) -> Settings | None:
        """The backgrounds of a set, if it has any."""

    def hypernyms(self, name: str) -> tuple[tuple[str, ...], ...] | None:
        """For each concept of a set its WordNet hypernyms from the nearest on, if they are known."""


@dataclass(frozen=True, slots=True)
class FakeLibrary:
    """Sets in memory."""

    sets: Mapping[str, tuple[Concept, ...]]
    backgrounds: Mapping[str, Settings] = field(default_factory=dict)
    above: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()

    def names(self) -> Sequence[str]:
        return sorted(self.sets)

    def has(self, name: str) -> bool:
        return name in self.sets

    def held_out(self) -> Sequence[str]:
        return self.unseen

    def concepts(self, name: str) -> tuple[Concept, ...]:
        return self.sets[name]

    def settings(self, name: str) -> Settings | None:
        return self.backgrounds.get(name)

    def hypernyms(self, name: str) -> tuple[tuple[str, ...], ...] | None:
        return self.above.get(name)
