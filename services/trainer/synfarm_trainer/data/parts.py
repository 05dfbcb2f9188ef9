"""One part of a manifest as arrays: from its columns or, where an older version wrote none, from its commits.

A run that follows a job may have named a part a moment before its columns were there. They are a function of the part's
commits, so a later reader takes them in place of these, once it has seen that they are of the part's units.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.columns import SCORE, ColumnsRef
from synfarm.contracts.commits import Commit
from synfarm.contracts.manifests import ManifestLine, ManifestPart
from synfarm.storage.columns_file import Column, read_columns, recall_columns
from synfarm.storage.group_columns import UnitColumns, join_units
from synfarm.storage.manifest_reader import ManifestDamaged, part_lines
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged
from synfarm.telemetry import get_logger

__all__ = ["PartArrays", "part_arrays"]

_log = get_logger(__name__)
_TYPES = {"U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "I64": "<i8", "F64": "<f8"}
_NEEDED = (
    "unit.number",
    "unit.groups",
    "unit.first",
    "unit.commit_sha256",
    "group.offset",
    "group.images",
    "group.concept",
    "names.concept",
)
_TEMPLATES = ("group.template", "names.template")
_PROVING = ("unit.size", "unit.shard_sha256")
"""Beside those that are needed: what tells that columns are of a part's units."""


@dataclass(frozen=True, eq=False)
class PartArrays:
    """U units with G groups; see :mod:`synfarm.contracts.columns`."""

    numbers: Mapping[str, NDArray[Any]]
    """By the names of the columns."""
    concepts: Sequence[str]
    templates: Sequence[str]
    """Empty unless they were asked for."""
    scores: Mapping[str, NDArray[np.float64]]
    """Those that were asked for."""
    score_names: frozenset[str]
    """All that there are."""

    @property
    def groups(self) -> int:
        return len(self.numbers["group.offset"])


def part_arrays(
    store: ObjectStore, job: str, part: ManifestPart, *, scores: Collection[str], templates: bool, pool: Executor
) -> PartArrays:
    """Read and prove a part.

    Args:
        scores: names of those that are wanted.
        pool: reads the commits of a part without columns.

    Raises:
        ManifestDamaged: the part or its columns are gone or not those of the end record, or a commit does not fit.
        StoreError: an object cannot be read.
    """
    wanted = [*_NEEDED, *(_TEMPLATES if templates else ())]
    asked = [*wanted, *(SCORE + name for name in scores)]
    columns: Mapping[str, Column]
    names: Collection[str]
    if part.columns is None:
        lines = [line for line in part_lines(store, part) if line.shard is not None]
        columns, names = _late(store, part, lines, asked) or _from_commits(store, job, lines, pool)
    else:
        try:
            columns, names = _from_columns(store, part.columns, asked)
        except ObjectMissing as error:
            raise ManifestDamaged(part.columns.key, "the columns of the manifest part are gone") from error
        except (StoreDamaged, ValueError, KeyError) as error:
            raise ManifestDamaged(part.columns.key, f"{error}") from error
    numbers = {name: _array(one) for name, one in columns.items()}
    found = PartArrays(
        numbers={name: numbers[name] for name in wanted},
        concepts=json.loads(columns["names.concept"].data),
        templates=json.loads(columns["names.template"].data) if templates else (),
        scores={name: numbers[SCORE + name] for name in scores if SCORE + name in numbers},
        score_names=frozenset(name.removeprefix(SCORE) for name in names),
    )
    total = int(found.numbers["unit.groups"].sum())
    if not total == found.groups == part.groups:
        key = part.columns.key if part.columns is not None else part.key
        raise ManifestDamaged(key, f"it holds {total} captions, the end record says {part.groups}")
    return found


def _from_columns(
    store: ObjectStore, ref: ColumnsRef, wanted: Sequence[str]
) -> tuple[Mapping[str, Column], Collection[str]]:
    """The columns, and the names of all scores."""
    columns, every = read_columns(store, ref, wanted)
    if missing := [name for name in (*_NEEDED,) if name not in columns]:
        raise ValueError(f"it has no column {missing[0]}")
    return columns, [name for name in every if name.startswith(SCORE)]


def _late(
    store: ObjectStore, part: ManifestPart, lines: Sequence[ManifestLine], wanted: Sequence[str]
) -> tuple[Mapping[str, Column], Collection[str]] | None:
    """From columns that came after somebody named the part without; None if there are none, or of other units."""
    try:
        if (ref := recall_columns(store, layout.manifest_columns(*layout.parse_manifest_part(part.key)))) is None:
            return None
        columns, names = _from_columns(store, ref, [*wanted, *_PROVING])
        if _units_of(columns) != [_unit(line) for line in lines]:
            raise ValueError("they are of other units than the part")
    except (ObjectMissing, StoreDamaged, ValueError, KeyError) as error:
        _log.warning("late_columns_refused", part=part.key, why=f"{error}", reads="the commits of their units")
        return None
    return columns, names


def _unit(line: ManifestLine) -> tuple[int, int, int, str]:
    assert line.shard is not None
    return line.unit, line.groups, line.shard.size, line.shard.sha256


def _units_of(columns: Mapping[str, Column]) -> list[tuple[int, int, int, str]]:
    unit, groups, size = (_array(columns[name]).tolist() for name in ("unit.number", "unit.groups", "unit.size"))
    shard = columns["unit.shard_sha256"].data
    hashes = [shard[start : start + 32].hex() for start in range(0, len(shard), 32)]
    return list(zip(unit, groups, size, hashes, strict=True))


def _array(one: Column) -> NDArray[Any]:
    return np.frombuffer(one.data, _TYPES[one.dtype]).reshape(one.shape)


def _from_commits(
    store: ObjectStore, job: str, lines: Iterable[ManifestLine], pool: Executor
) -> tuple[Mapping[str, Column], Collection[str]]:
    def read(line: ManifestLine) -> UnitColumns | None:
        key = layout.commit(job, line.unit)
        try:
            data = store.get(key)
            commit = Commit.from_bytes(data)
        except (ObjectMissing, ValidationError) as error:
            raise ManifestDamaged(key, "the commit is gone or cannot be read") from error
        if commit.shard != line.shard or len(commit.groups) != line.groups:
            raise ManifestDamaged(key, "names another shard than the manifest")
        return UnitColumns.of(commit, hashlib.sha256(data).hexdigest())

    columns = join_units(one for one in pool.map(read, lines) if one is not None)
    return columns, {name for name in columns if name.startswith(SCORE)}
