"""The columns of caption groups: from the commits of a part's units, and back unit by unit."""

from __future__ import annotations

import json
import math
import sys
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from synfarm.contracts.columns import SCORE
from synfarm.contracts.commits import Commit
from synfarm.storage.columns_file import Column, column, unsigned

__all__ = ["UnitColumns", "join_units", "split_units"]

_CODES = {"U8": "B", "U16": "H", "U32": "I", "U64": "Q", "I64": "q", "F64": "d"}


@dataclass(frozen=True, slots=True)
class UnitColumns:
    """What one unit adds to the columns of its part: some tens of bytes a caption group."""

    unit: int
    first: int
    size: int
    shard_sha256: str
    commit_sha256: str
    offset: array[int]
    images: array[int]
    concepts: tuple[str, ...]
    templates: tuple[str, ...]
    scores: dict[str, array[float]]
    """NaN where a group has none of that name."""

    @classmethod
    def of(cls, commit: Commit, commit_sha256: str) -> UnitColumns | None:
        """Of a commit whose object has this hash; None if it has no shard."""
        if commit.shard is None:
            return None
        groups = commit.groups
        first = min(row.index for row in groups)
        names = sorted({name for row in groups for name in row.scores})
        return cls(
            unit=commit.unit,
            first=first,
            size=commit.shard.size,
            shard_sha256=commit.shard.sha256,
            commit_sha256=commit_sha256,
            offset=unsigned([row.index - first for row in groups]),
            images=unsigned([len(row.members) - 1 for row in groups]),
            # Interned: a few names are those of very many groups.
            concepts=tuple(sys.intern(row.concept) for row in groups),
            templates=tuple(sys.intern(row.template) for row in groups),
            scores={name: array("d", [row.scores.get(name, math.nan) for row in groups]) for name in names},
        )


def join_units(units: Iterable[UnitColumns]) -> dict[str, Column]:
    """The columns of a part; units in their order."""
    held = list(units)
    concepts: dict[str, int] = {}
    templates: dict[str, int] = {}
    concept = [concepts.setdefault(name, len(concepts)) for one in held for name in one.concepts]
    template = [templates.setdefault(name, len(templates)) for one in held for name in one.templates]
    scores: dict[str, array[float]] = {}
    for name in sorted({name for one in held for name in one.scores}):
        scores[SCORE + name] = array("d")
        for one in held:
            scores[SCORE + name].extend(one.scores.get(name) or array("d", [math.nan]) * len(one.offset))
    count = len(held)
    columns: dict[str, array[Any]] = {
        "unit.number": array("I", [one.unit for one in held]),
        "unit.groups": array("I", [len(one.offset) for one in held]),
        "unit.first": array("q", [one.first for one in held]),
        "unit.size": array("Q", [one.size for one in held]),
        "group.offset": unsigned([number for one in held for number in one.offset]),
        "group.images": unsigned([number for one in held for number in one.images]),
        "group.concept": unsigned(concept),
        "group.template": unsigned(template),
        **scores,
    }
    return {
        **{name: column(values) for name, values in columns.items()},
        "unit.shard_sha256": column(b"".join(bytes.fromhex(one.shard_sha256) for one in held), count, 32),
        "unit.commit_sha256": column(b"".join(bytes.fromhex(one.commit_sha256) for one in held), count, 32),
        "names.concept": column(json.dumps([*concepts], ensure_ascii=False).encode()),
        "names.template": column(json.dumps([*templates], ensure_ascii=False).encode()),
    }


def split_units(columns: Mapping[str, Column]) -> dict[int, UnitColumns]:
    """By unit, what :func:`join_units` put together.

    Raises:
        KeyError, ValueError: columns are missing or do not fit together.
    """
    numbers = {name: _numbers(one) for name, one in columns.items() if not name.startswith("names.")}
    concepts, templates = (json.loads(columns[f"names.{name}"].data) for name in ("concept", "template"))
    shards, commits = (columns[f"unit.{name}_sha256"].data for name in ("shard", "commit"))
    units: dict[int, UnitColumns] = {}
    begin = 0
    for place, (unit, count) in enumerate(zip(numbers["unit.number"], numbers["unit.groups"], strict=True)):
        groups = slice(begin, begin + count)
        cut = {name: values[groups] for name, values in numbers.items() if name.startswith(SCORE)}
        units[unit] = UnitColumns(
            unit=unit,
            first=numbers["unit.first"][place],
            size=numbers["unit.size"][place],
            shard_sha256=shards[32 * place : 32 * place + 32].hex(),
            commit_sha256=commits[32 * place : 32 * place + 32].hex(),
            offset=numbers["group.offset"][groups],
            images=numbers["group.images"][groups],
            concepts=tuple(sys.intern(concepts[code]) for code in numbers["group.concept"][groups]),
            templates=tuple(sys.intern(templates[code]) for code in numbers["group.template"][groups]),
            scores={
                name.removeprefix(SCORE): values
                for name, values in cut.items()
                if not all(math.isnan(value) for value in values)
            },
        )
        begin += count
    return units


def _numbers(one: Column) -> array[Any]:
    values: array[Any] = array(_CODES[one.dtype], one.data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
