"""All units of a job in order, with what three listings say of each: its commit, its dead letter, its manifest line."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from synfarm.contracts import layout
from synfarm.contracts.manifests import ManifestLine
from synfarm.storage.protocol import ObjectInfo, ObjectStore

__all__ = ["KnownUnit", "walk_units"]

_Entry = tuple[int, int, ManifestLine | None]
_COMMIT, _LETTER, _LINE = range(3)


@dataclass(frozen=True, slots=True)
class KnownUnit:
    """A unit of which at least one of the three says something."""

    unit: int
    committed: bool
    dead: bool
    line: ManifestLine | None


def walk_units(
    store: ObjectStore, job: str, lines: Iterable[ManifestLine], *, foreign: Callable[[str], None]
) -> Iterator[KnownUnit]:
    """Units in their order; memory does not grow with the job, for all three are sorted and read side by side.

    Args:
        lines: of the manifest, in order of units.
        foreign: told each key among commits and dead letters that no synfarm writes.
    """
    commits = _units(store.list(layout.commits_prefix(job)), _COMMIT, lambda unit: layout.commit(job, unit), foreign)
    letters = _units(store.list(layout.failures_prefix(job)), _LETTER, lambda unit: layout.failure(job, unit), foreign)
    told: Iterator[_Entry] = ((line.unit, _LINE, line) for line in lines)
    # The lines begin first: of a job that runs, they hold no unit that the listings, begun after them, do not know.
    merged = heapq.merge(told, commits, letters, key=itemgetter(0))
    for unit, entries in groupby(merged, key=itemgetter(0)):
        found = {kind: line for _, kind, line in entries}
        yield KnownUnit(unit, _COMMIT in found, _LETTER in found, found.get(_LINE))


def _units(
    listed: Iterable[ObjectInfo], kind: int, key_of: Callable[[int], str], foreign: Callable[[str], None]
) -> Iterator[_Entry]:
    for info in listed:
        try:
            unit = layout.parse_unit(info.key)[2]
        except ValueError:
            unit = None
        if unit is None or info.key != key_of(unit):
            foreign(info.key)
        else:
            yield unit, kind, None
