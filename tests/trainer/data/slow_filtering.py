"""Which caption groups a run leaves out, by a walk over all rows in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from synfarm.contracts.commits import GroupRow

__all__ = ["kept_rows"]

NEAR_COLUMNS = ("near0", "near1", "near2")


def kept_rows(
    rows: Sequence[GroupRow],
    *,
    drop_near_duplicates: bool,
    min_scores: Mapping[str, float],
    max_scores: Mapping[str, float] = MappingProxyType({}),
) -> list[bool]:
    """For each row, in manifest order, whether it stays.

    Args:
        drop_near_duplicates: leave out a row that shares one of ``NEAR_COLUMNS`` with an earlier row that stays.
        min_scores: leave out a row whose score lies below the bound; one without that score stays.
        max_scores: leave out a row whose score lies above the bound, likewise.
    """
    seen: tuple[set[float], ...] = tuple(set() for _ in NEAR_COLUMNS)
    kept = []
    for row in rows:
        stays = all(row.scores.get(name, bound) >= bound for name, bound in min_scores.items())
        stays = stays and all(row.scores.get(name, bound) <= bound for name, bound in max_scores.items())
        if stays and drop_near_duplicates:
            own = [row.scores.get(column) for column in NEAR_COLUMNS]
            stays = not any(value in met for value, met in zip(own, seen, strict=True))
            if stays:
                for value, met in zip(own, seen, strict=True):
                    if value is not None:
                        met.add(value)
        kept.append(stays)
    return kept
