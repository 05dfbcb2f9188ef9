"""Which caption groups a run leaves out, by their columns: the same groups as a walk over all rows would leave out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEAR_COLUMNS", "Filters", "UnknownName", "UnknownScore", "first_of_near"]

NEAR_COLUMNS = ("near0", "near1", "near2")
"""Whole numbers that the caption worker puts into a row: captions that share one of them are nearly the same text."""
_ROUNDS = 32
_SHOWN = 8

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]


class UnknownScore(ValueError):
    """A filter needs a score that no row has."""


class UnknownName(ValueError):
    """A filter names a concept or template that no row has."""


@dataclass(frozen=True)
class Filters:
    """What a run asks of its caption groups; the fields of ``data`` with the same names."""

    drop_near_duplicates: bool = False
    """Leave out a group that shares one of ``NEAR_COLUMNS`` with an earlier group that stays."""
    min_scores: Mapping[str, float] = field(default_factory=dict)
    """Leave out a group whose score lies below the bound; one without that score stays."""
    max_scores: Mapping[str, float] = field(default_factory=dict)
    concepts: Sequence[str] = ()
    """Names, or patterns with ``*`` and ``?``, of those that stay; none: all."""
    templates: Sequence[str] = ()
    _met: dict[str, dict[str, bool]] = field(default_factory=lambda: {"concepts": {}, "templates": {}}, init=False)
    """Every name so far, and whether it fits."""
    _fits: dict[str, set[str]] = field(default_factory=lambda: {"concepts": set(), "templates": set()}, init=False)
    _scores: set[str] = field(default_factory=set, init=False)

    @property
    def wanted_scores(self) -> list[str]:
        """Names of the scores that are looked at."""
        return sorted({*self.min_scores, *self.max_scores, *(NEAR_COLUMNS if self.drop_near_duplicates else ())})

    def stays(
        self,
        names: Mapping[str, Sequence[str]],
        codes: Mapping[str, NDArray[Any] | None],
        scores: Mapping[str, Doubles],
        there: Collection[str],
    ) -> Mask | None:
        """(G,): whether each group of a part stays, near duplicates aside; None: all do.

        Args:
            names, codes: under ``concepts`` and ``templates``.
            scores: NaN where a group has none.
            there: names of all scores of the part.
        """
        self._scores.update(there)
        masks: list[Mask] = []
        for what, patterns in (("concepts", self.concepts), ("templates", self.templates)):
            if patterns:
                code = codes[what]
                assert code is not None
                masks.append(self._named(what, patterns, names[what])[code])
        for name, bound in self.min_scores.items():
            if name in scores:
                masks.append(~(scores[name] < bound))
        for name, bound in self.max_scores.items():
            if name in scores:
                masks.append(~(scores[name] > bound))
        return np.logical_and.reduce(masks) if masks else None

    def _named(self, what: str, patterns: Sequence[str], names: Sequence[str]) -> Mask:
        met = self._met[what]
        for name in names:
            if name not in met:
                fits = {pattern for pattern in patterns if name == pattern or fnmatchcase(name, pattern)}
                self._fits[what] |= fits
                met[name] = bool(fits)
        return np.array([met[name] for name in names], dtype=np.bool_)

    def check(self) -> None:
        """After the last part.

        Raises:
            UnknownName: a name or pattern fits nothing.
            UnknownScore: a bound is of a score that no group has, or no group has any of ``NEAR_COLUMNS``.
        """
        for what, patterns in (("concepts", self.concepts), ("templates", self.templates)):
            for pattern in patterns:
                if pattern not in self._fits[what]:
                    raise UnknownName(_unknown(what, pattern, sorted(self._met[what])))
        for bounds, asked in (("min_scores", self.min_scores), ("max_scores", self.max_scores)):
            for name in asked:
                if name not in self._scores:
                    there = sorted(self._scores - set(NEAR_COLUMNS))
                    known = f"the scores there are: {', '.join(there)}" if there else "they have no scores"
                    raise UnknownScore(f"data.{bounds}.{name}: no caption of these jobs has this score; {known}")
        if self.drop_near_duplicates and not self._scores & set(NEAR_COLUMNS):
            raise UnknownScore(
                "data.drop_near_duplicates: the captions of these jobs have no scores by which near duplicates are "
                "known; leave it out, or draw the captions anew"
            )

    @property
    def fields(self) -> str:
        """The fields that leave something out, for a message."""
        found = [name for name in ("concepts", "templates", "min_scores", "max_scores") if getattr(self, name)]
        return ", ".join(f"data.{name}" for name in found)


def _unknown(what: str, pattern: str, names: Sequence[str]) -> str:
    near = get_close_matches(pattern, names, n=3)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names[:_SHOWN])}{more}"
    return f"data.{what}: no caption of these jobs has the {what[:-1]} {pattern!r}; {hint}"


def first_of_near(columns: Sequence[Doubles]) -> Mask:
    """(N,): whether each group stays that shares no number with an earlier group that stays.

    Args:
        columns: of shape (N,) each, NaN where a group has no number. In all about 60 bytes a group are needed.
    """
    count = len(columns[0])
    stays = np.ones(count, dtype=np.bool_)
    shared = np.zeros(count, dtype=np.bool_)
    for values in columns:
        ordered = np.sort(values)
        twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        shared |= np.isin(values, twice)
    rows = np.flatnonzero(shared)  # in the order of the groups; no other can leave anything out
    # Numbers of a column as codes from 0; a group without one has a code of its own.
    codes = [_codes(values[rows]) for values in columns]
    open_ = np.arange(len(rows))
    for _ in range(_ROUNDS):
        if not len(open_):
            return stays
        first = np.ones(len(open_), dtype=np.bool_)
        for code in codes:
            _, met = np.unique(code[open_], return_index=True)
            mine = np.zeros(len(open_), dtype=np.bool_)
            mine[met] = True
            first &= mine
        kept, others = open_[first], open_[~first]
        out = np.zeros(len(others), dtype=np.bool_)
        for code in codes:
            out |= np.isin(code[others], code[kept])
        stays[rows[others[out]]] = False
        open_ = others[~out]
    _walk(open_, codes, rows, stays)
    return stays


def _codes(values: Doubles) -> NDArray[np.int64]:
    _, codes = np.unique(values, return_inverse=True)
    absent = np.isnan(values)
    codes = codes.astype(np.int64)
    codes[absent] = len(values) + np.arange(int(absent.sum()))
    return codes


def _walk(open_: NDArray[np.int64], codes: Sequence[NDArray[np.int64]], rows: NDArray[np.int64], stays: Mask) -> None:
    """One group after the other: what is left is a long chain of neighbours, or little."""
    seen: tuple[set[int], ...] = tuple(set() for _ in codes)
    for place in open_.tolist():
        own = [int(code[place]) for code in codes]
        if any(value in met for value, met in zip(own, seen, strict=True)):
            stays[rows[place]] = False
        else:
            for value, met in zip(own, seen, strict=True):
                met.add(value)
