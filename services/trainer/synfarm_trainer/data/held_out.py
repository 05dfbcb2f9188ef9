"""Which caption groups are never trained on: a keyed hash of the caption id, an exact share of each concept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of
from synfarm_trainer.data.table import GroupTable

__all__ = ["RowSet", "held_out_set"]

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

_CHUNK = 1 << 16
"""Rows hashed at a time: what is made of them stays in a processor's cache. A multiple of 8."""
_SPREAD = 5.0
"""Standard deviations around a concept's expected border within which hashes are kept for sorting."""
_SET_BITS = np.array([int(byte).bit_count() for byte in range(256)], dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class RowSet:
    """A set of rows below ``rows``, one bit each."""

    rows: int
    packed: NDArray[np.uint8]
    """As ``np.packbits`` packs, and a byte more."""

    def __contains__(self, row: int) -> bool:
        return bool(self.has(np.array([row]))[0])

    def has(self, rows: Ints) -> NDArray[np.bool_]:
        """For each of ``rows`` whether it is in the set."""
        told: NDArray[np.bool_] = (self.packed[rows >> 3] >> (7 - (rows & 7)).astype(np.uint8)) & 1 == 1
        return told

    def unpack(self, start: int, stop: int) -> NDArray[np.bool_]:
        """(stop - start,): the same of neighbouring rows."""
        first = start >> 3
        told = np.unpackbits(self.packed[first : (stop + 7) >> 3])
        return told[start - 8 * first : stop - 8 * first].view(np.bool_)

    def before(self, rows: Ints) -> Ints:
        """How many rows of the set lie below each of ``rows``."""
        sums = np.zeros(len(self.packed) + 1, dtype=np.int64 if self.rows >> 31 else np.int32)
        np.cumsum(_SET_BITS[self.packed], dtype=sums.dtype, out=sums[1:])
        byte, rest = rows >> 3, rows & 7
        partly = self.packed[byte] >> (8 - rest).astype(np.uint8)
        found: Ints = sums[byte].astype(np.int64) + np.where(rest > 0, _SET_BITS[partly], 0)
        return found


def held_out_set(table: GroupTable, seed: int, share: float) -> RowSet:
    """Of each concept the rounded ``share`` of its groups with the lowest keyed hash of the caption id.

    A concept of two groups or more gives at least one and keeps at least one; a lone group is trained on.

    Nothing is sorted but what may lie on either side of a concept's border: of n hashes the k-th lowest is close to
    k / n of their range, so those well below are held out and those well above are not, and one pass finds the rest.
    A concept whose border lies elsewhere after all is passed over again, whole. The answer is exact at every size.
    """
    groups, concepts = len(table), int(table.concept.max(initial=0)) + 1
    sizes = _counts(table, concepts)
    wanted = np.clip(np.floor(sizes * share + 0.5).astype(np.int64), 1, np.maximum(sizes - 1, 1))
    wanted[sizes < 2] = 0
    middle = wanted / np.maximum(sizes, 1)
    width = _SPREAD * np.sqrt(middle * (1 - middle) / np.maximum(sizes, 1))
    low, high = _word(middle - width), _word(middle + width)
    low[sizes < 2], high[sizes < 2] = 0, 0
    held = RowSet(groups, np.zeros((groups >> 3) + 1, dtype=np.uint8))
    concerned: NDArray[np.bool_] | None = None
    while concerned is None or concerned.any():
        below, near = _pass(table, seed, low, high, concerned, held)
        missing = wanted - below
        missed = (missing < 0) | (missing > np.bincount(table.concept[near.rows], minlength=concepts))
        chosen = _lowest(table, near, missing, ~missed)
        np.bitwise_or.at(held.packed, chosen >> 3, (128 >> (chosen & 7)).astype(np.uint8))
        concerned = missed if concerned is None else missed & concerned
        low[missed], high[missed] = 0, np.iinfo(np.uint64).max
    return held


def _counts(table: GroupTable, concepts: int) -> Ints:
    counts = np.zeros(concepts, dtype=np.int64)
    for start in range(0, len(table), _CHUNK):
        counts += np.bincount(table.concept[start : start + _CHUNK], minlength=concepts)
    return counts


def _word(part: NDArray[np.float64]) -> Words:
    """A part of 0 to 1 as a hash in rising order."""
    return np.minimum(np.clip(part, 0.0, 1.0) * 2.0**64, np.nextafter(2.0**64, 0)).astype(np.uint64)


@dataclass(frozen=True, eq=False)
class _Near:
    rows: Ints
    draw: Words


def _pass(
    table: GroupTable, seed: int, low: Words, high: Words, concerned: NDArray[np.bool_] | None, held: RowSet
) -> tuple[Ints, _Near]:
    """Hold out what is below ``low``; find what lies between.

    Args:
        concerned: (concepts,) those that are passed again; None: this is the first time.

    Returns:
        (concepts,) how many were below; those between.
    """
    key, groups, concepts = key_of(seed, Purpose.HELD_OUT), len(table), len(low)
    below = np.zeros(concepts, dtype=np.int64)
    surely, perhaps = low.min(), high.max()  # spare most rows a look at their concept
    rows: list[Ints] = [np.empty(0, dtype=np.int64)]
    draws: list[Words] = [np.empty(0, dtype=np.uint64)]
    for start in range(0, groups, _CHUNK):
        stop = min(start + _CHUNK, groups)
        concept = table.concept[start:stop]
        # Hashes are ordered as signed numbers: with the sign turned over they are so as unsigned ones.
        draw = bits(key, *table.ids(start, stop)).view(np.uint64) ^ np.uint64(1 << 63)
        under = draw < surely
        places = np.flatnonzero((draw <= perhaps) & ~under)
        those, its = concept[places], draw[places]
        under[places] = its < low[those]
        maybe = (its >= low[those]) & (its <= high[those])
        if concerned is not None:
            of_them = concerned[concept]
            held.packed[start >> 3 : (stop + 7) >> 3] &= ~np.packbits(of_them)
            under &= of_them
            maybe &= concerned[those]
        held.packed[start >> 3 : (stop + 7) >> 3] |= np.packbits(under)
        below += np.bincount(concept[under], minlength=concepts)
        rows.append(places[maybe] + start)
        draws.append(its[maybe])
    return below, _Near(np.concatenate(rows), np.concatenate(draws))


def _lowest(table: GroupTable, near: _Near, count: Ints, concerned: NDArray[np.bool_]) -> Ints:
    """Of each concept the ``count`` rows of ``near`` with the lowest hash; equal ones by job and caption index."""
    concept: NDArray[Any] = table.concept[near.rows]
    order = np.lexsort((near.draw, concept))
    equal = (np.diff(concept[order]) == 0) & (np.diff(near.draw[order]) == 0)
    if equal.any():
        order = np.lexsort((table.index[near.rows], table.job[near.rows], near.draw, concept))
    concept = concept[order]
    first = np.searchsorted(concept, np.arange(len(count)))
    rank = np.arange(len(order)) - first[concept]
    chosen: Ints = near.rows[order[(rank < count[concept]) & concerned[concept]]]
    return chosen
