"""Columns of caption groups: equal to the commits they are made of, provable column by column, plain safetensors."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.columns import SCORE, ColumnsRef
from synfarm.contracts.commits import Commit, GroupRow, Member, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.storage.columns_file import read_columns, recall_columns, write_columns
from synfarm.storage.group_columns import UnitColumns, join_units, split_units
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreDamaged

JOB = "01hzzzzzzzzzzzzzzzzzzzzzz0"
KEY = layout.manifest_columns(JOB, 1, 0)
SCORES = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from(["cat", "dog", "Möwe", "ship of the line", '"quoted"'])
GROUP = st.tuples(
    st.integers(1, 300),
    st.integers(1, 3),
    NAMES,
    st.sampled_from(["c", "c,bg"]),
    st.dictionaries(st.sampled_from(["near0", "clip", "odd name"]), SCORES, max_size=3),
)


def commit_of(unit: int, groups: list[tuple[int, int, str, str, dict[str, float]]]) -> Commit:
    rows, index = [], 10_000 * unit
    for gap, images, concept, template, scores in groups:
        index += gap
        name = caption_id(JOB, index)
        files = [*(f"{name}.{k}.jpg" for k in range(images)), f"{name}.json"]
        rows.append(
            GroupRow(
                index=index,
                caption_id=name,
                concept=concept,
                template=template,
                kind="object",
                offset=0,
                length=512,
                sha256="0" * 64,
                members=tuple(Member(name=file, offset=0, length=1) for file in files),
                scores=scores,
            )
        )
    digest = hashlib.sha256(str(unit).encode()).hexdigest()
    shard = ShardRef(key=layout.shard(JOB, unit, digest), sha256=digest, size=10 * unit)
    return Commit(
        job=JOB,
        unit=unit,
        attempt=JOB,
        worker="w",
        committed_at=utc_now(),
        shard=shard if rows else None,
        groups=tuple(rows),
        captions_sha256="0" * 64,
    )


def units_of(commits: list[Commit]) -> list[UnitColumns]:
    made = [UnitColumns.of(one, hashlib.sha256(one.to_bytes()).hexdigest()) for one in commits]
    return [one for one in made if one is not None]


@given(st.lists(st.lists(GROUP, max_size=6), max_size=5))
@settings(max_examples=60, deadline=None)
def test_columns_say_what_the_commits_say(units: list[list[Any]]) -> None:
    commits = [commit_of(3 * place, groups) for place, groups in enumerate(units)]
    data, _ = write_columns(join_units(units_of(commits)))
    found = load(data)
    rows = [row for commit in commits for row in commit.groups]
    there = [commit for commit in commits if commit.shard]
    assert found["unit.number"].tolist() == [commit.unit for commit in there]
    assert found["unit.groups"].tolist() == [len(commit.groups) for commit in there]
    index = np.repeat(found["unit.first"], found["unit.groups"]) + found["group.offset"]
    assert index.tolist() == [row.index for row in rows]
    assert found["group.images"].tolist() == [len(row.members) - 1 for row in rows]
    for name in ("concept", "template"):
        names = json.loads(found[f"names.{name}"].tobytes())
        assert [names[code] for code in found[f"group.{name}"]] == [getattr(row, name) for row in rows]
    for name in {name for row in rows for name in row.scores}:
        told = [row.scores.get(name, math.nan) for row in rows]
        assert np.array_equal(found[SCORE + name], told, equal_nan=True)
    assert {name for name in found if name.startswith(SCORE)} == {SCORE + name for row in rows for name in row.scores}
    for commit, shard, own in zip(there, found["unit.shard_sha256"], found["unit.commit_sha256"], strict=True):
        assert shard.tobytes().hex() == commit.shard.sha256  # type: ignore[union-attr]
        assert own.tobytes().hex() == hashlib.sha256(commit.to_bytes()).hexdigest()


@given(st.lists(st.lists(GROUP, min_size=1, max_size=6), max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_later_generation_takes_units_over_bit_for_bit(units: list[list[Any]]) -> None:
    columns = join_units(units_of([commit_of(place, groups) for place, groups in enumerate(units)]))
    again = split_units(columns)
    assert write_columns(join_units(again.values())) == write_columns(columns)


@pytest.fixture
def stored() -> tuple[MemoryStore, ColumnsRef]:
    store = MemoryStore()
    groups = [(1, 4, "cat", "c", {"clip": 0.5}), (2, 4, "dog", "c,bg", {})]
    data, _ = write_columns(join_units(units_of([commit_of(unit, groups) for unit in range(3)])))
    store.put(KEY, data)
    ref = recall_columns(store, KEY)
    assert ref is not None
    return store, ref


def test_columns_are_read_one_by_one_and_proven(stored: tuple[MemoryStore, ColumnsRef]) -> None:
    store, ref = stored
    assert recall_columns(store, layout.manifest_columns(JOB, 1, 1)) is None
    few, every = read_columns(store, ref, ["group.images", "unit.number", "score.nowhere"])
    assert {"score.clip", "names.concept", *few} < every
    assert {name: one.shape for name, one in few.items()} == {"group.images": (6,), "unit.number": (3,)}
    whole = store.get(KEY)
    place = whole.index(bytes([4] * 6), ref.header_bytes)
    store.put(KEY, whole[:place] + b"\x05" + whole[place + 1 :])
    assert read_columns(store, ref, ["group.offset"])[0]["group.offset"].data == bytes([0, 2] * 3)
    with pytest.raises(StoreDamaged, match=r"column group\.images is not the one that was written"):
        read_columns(store, ref, ["group.images"])


def test_a_header_that_is_not_the_recorded_one_is_refused(stored: tuple[MemoryStore, ColumnsRef]) -> None:
    store, ref = stored
    with pytest.raises(StoreDamaged, match=r"the sha256 of its header is .*, the end record names 0{12}"):
        read_columns(store, ref.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(StoreDamaged, match="or not the whole of it"):
        read_columns(store, ref.model_copy(update={"size": ref.size + 1}))
    data = b"\x02\0\0\0\0\0\0\0[]"
    store.put(KEY, data)
    other = recall_columns(store, KEY)
    assert other is not None
    with pytest.raises(StoreDamaged, match="not a columns file"):
        read_columns(store, other)


def test_units_without_a_score_have_none_of_it() -> None:
    one, two = units_of([commit_of(0, [(1, 1, "a", "c", {"clip": 1.0})]), commit_of(1, [(1, 1, "a", "c", {})])])
    again = split_units(join_units([one, two]))
    assert again == {0: one, 1: two}
    assert replace(two, unit=0) != again[0]
