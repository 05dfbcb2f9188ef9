"""One part of a manifest as arrays: from its columns or, where an older version wrote none, from its commits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.columns import SCORE
from synfarm.contracts.commits import Commit
from synfarm.contracts.manifests import ManifestLine, ManifestPart
from synfarm.storage.columns_file import Column, read_columns
from synfarm.storage.group_columns import UnitColumns, join_units
from synfarm.storage.manifest_reader import ManifestDamaged, part_lines
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged

__all__ = ["PartArrays", "part_arrays"]

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
    if part.columns is None:
        columns: Mapping[str, Column] = _from_commits(store, job, part, pool)
        names: Collection[str] = {name for name in columns if name.startswith(SCORE)}
    else:
        try:
            columns, names = _from_columns(store, part, [*wanted, *(SCORE + name for name in scores)])
        except ObjectMissing as error:
            raise ManifestDamaged(part.columns.key, "the columns of the manifest part are gone") from error
        except (StoreDamaged, ValueError, KeyError) as error:
            raise ManifestDamaged(part.columns.key, f"{error}") from error
    numbers = {name: np.frombuffer(one.data, _TYPES[one.dtype]).reshape(one.shape) for name, one in columns.items()}
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
    store: ObjectStore, part: ManifestPart, wanted: Sequence[str]
) -> tuple[Mapping[str, Column], Collection[str]]:
    """The columns, and the names of all scores."""
    assert part.columns is not None
    columns, every = read_columns(store, part.columns, wanted)
    if missing := [name for name in (*_NEEDED,) if name not in columns]:
        raise ValueError(f"it has no column {missing[0]}")
    return columns, [name for name in every if name.startswith(SCORE)]


def _from_commits(store: ObjectStore, job: str, part: ManifestPart, pool: Executor) -> Mapping[str, Column]:
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

    lines = [line for line in part_lines(store, part) if line.shard is not None]
    return join_units(one for one in pool.map(read, lines) if one is not None)
