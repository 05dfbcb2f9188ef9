"""Which caption groups a run leaves out, by what their commits say of them: a pure function of the rows in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from synfarm.contracts.commits import GroupRow

__all__ = ["NEAR_COLUMNS", "UnknownScore", "kept_rows"]

NEAR_COLUMNS = ("near0", "near1", "near2")
"""Whole numbers that the caption worker puts into a row: captions that share one of them are nearly the same text."""


class UnknownScore(ValueError):
    """A filter needs a score that no row has."""


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

    Raises:
        UnknownScore: a bound is of a score that no row has, or no row has any of ``NEAR_COLUMNS``.
    """
    _check_known(rows, {"min_scores": min_scores, "max_scores": max_scores})
    if drop_near_duplicates and not any(column in row.scores for row in rows for column in NEAR_COLUMNS):
        raise UnknownScore(
            "data.drop_near_duplicates: the captions of these jobs have no scores by which near duplicates are known; "
            "leave it out, or draw the captions anew"
        )
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


def _check_known(rows: Sequence[GroupRow], bounds: Mapping[str, Mapping[str, float]]) -> None:
    for field, named in bounds.items():
        for name in named:
            if not any(name in row.scores for row in rows):
                there = sorted({score for row in rows for score in row.scores} - set(NEAR_COLUMNS))
                known = f"the scores there are: {', '.join(there)}" if there else "they have no scores"
                raise UnknownScore(f"data.{field}.{name}: no caption of these jobs has this score; {known}")
