"""What a run leaves out by the scores in the commits' rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slow_filtering
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit, GroupRow
from synfarm.contracts.runs import DatasetRef
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.config import from_dict, to_dict
from synfarm_trainer.data.filtering import NEAR_COLUMNS, Filters, UnknownName, UnknownScore, first_of_near
from synfarm_trainer.data.manifest import DatasetInvalid, load_dataset
from synfarm_trainer.presets import resolve


@pytest.fixture
def rows(write_dataset: Callable[..., DatasetRef]) -> Callable[..., list[GroupRow]]:
    """({index: scores}) to the rows of a small job with these scores."""

    def make(scores: dict[int, dict[str, float]]) -> list[GroupRow]:
        store = MemoryStore()
        dataset = load_dataset(store, [write_dataset(store, captions=8)], views=4)
        return [row.model_copy(update={"scores": scores.get(i, {})}) for i, row in enumerate(dataset.rows)]

    return make


def kept_rows(
    rows: list[GroupRow],
    *,
    drop_near_duplicates: bool = False,
    min_scores: dict[str, float],
    max_scores: dict[str, float] | None = None,
) -> list[bool]:
    """By the filters of a run; the rows are one part."""
    filters = Filters(drop_near_duplicates, min_scores, max_scores or {})
    there = {name for row in rows for name in row.scores}
    scores = {name: np.array([row.scores.get(name, np.nan) for row in rows]) for name in there}
    stays = filters.stays({}, {}, scores, there)
    filters.check()
    found = np.ones(len(rows), dtype=np.bool_) if stays is None else stays
    if drop_near_duplicates:
        absent = np.full(len(rows), np.nan)
        found[found] = first_of_near([scores.get(name, absent)[found] for name in NEAR_COLUMNS])
    assert found.tolist() == slow_filtering.kept_rows(
        rows, drop_near_duplicates=drop_near_duplicates, min_scores=min_scores, max_scores=max_scores or {}
    )
    return found.tolist()


def kept(rows: list[GroupRow], near: bool = False, **bounds: float) -> list[int]:
    stays = kept_rows(rows, drop_near_duplicates=near, min_scores=bounds)
    return [i for i, stay in enumerate(stays) if stay]


def test_of_rows_that_share_a_band_the_first_stays(rows: Any) -> None:
    found = rows(
        {
            0: {"near0": 1, "near1": 2, "near2": 3},
            1: {"near0": 9, "near1": 2, "near2": 8},  # shares near1 with 0: out
            2: {"near0": 9, "near1": 7, "near2": 6},  # shares near0 with 1, which is out: stays
            3: {"near0": 2, "near1": 1, "near2": 9},  # the same numbers in other columns mean nothing
        }
    )
    assert kept(found, near=True) == [0, 2, 3, 4, 5, 6, 7]
    assert kept(found) == list(range(8))


def test_a_row_that_a_bound_leaves_out_shadows_no_other(rows: Any) -> None:
    found = rows({0: {"near0": 1.0, "second": 0.0}, 1: {"near0": 1.0, "second": 1.0}})
    assert kept(found, near=True, second=1.0) == list(range(1, 8))


def test_bounds_keep_what_they_do_not_concern(rows: Any) -> None:
    found = rows({2: {"second": 0.0}, 3: {"second": 1.0, "clip": 0.3}, 4: {"clip": 0.1}})
    assert kept(found, second=1.0) == [0, 1, 3, 4, 5, 6, 7]
    assert kept(found, second=1.0, clip=0.2) == [0, 1, 3, 5, 6, 7]


def test_scores_above_a_bound_are_left_out_likewise(rows: Any) -> None:
    found = rows({2: {"nsfw": 0.1, "clip": 0.3}, 3: {"nsfw": -0.2}, 4: {"clip": 0.1, "nsfw": 0.0}})

    def within(least: dict[str, float], most: dict[str, float]) -> list[int]:
        stays = kept_rows(found, drop_near_duplicates=False, min_scores=least, max_scores=most)
        return [i for i, stay in enumerate(stays) if stay]

    assert within({}, {"nsfw": 0.0}) == [0, 1, 3, 4, 5, 6, 7]
    assert within({"clip": 0.2}, {"nsfw": 0.0}) == [0, 1, 3, 5, 6, 7]
    with pytest.raises(UnknownScore, match=r"data\.max_scores\.bad: .* the scores there are: clip, nsfw"):
        within({}, {"bad": 0.0})


def test_a_score_that_nobody_has_is_named_with_those_there_are(rows: Any) -> None:
    with pytest.raises(UnknownScore, match=r"data\.min_scores\.clip: .* the scores there are: second"):
        kept(rows({1: {"near0": 1.0, "second": 0.0}}), clip=0.2)
    with pytest.raises(UnknownScore, match="they have no scores"):
        kept(rows({}), clip=0.2)
    with pytest.raises(UnknownScore, match=r"data\.drop_near_duplicates: .* no scores by which"):
        kept(rows({1: {"second": 0.0}}), near=True)


@given(
    st.lists(st.tuples(*[st.sampled_from([np.nan, *map(float, range(6))])] * 3), min_size=1, max_size=60),
    st.integers(0, 3),
)
@settings(max_examples=120, deadline=None)
def test_near_duplicates_are_those_of_a_walk(numbers: list[tuple[float, ...]], rounds: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synfarm_trainer.data.filtering._ROUNDS", rounds)
        found = first_of_near([np.array(column) for column in zip(*numbers, strict=True)])
    seen: list[set[float]] = [set(), set(), set()]
    for values, stays in zip(numbers, found, strict=True):
        assert stays == all(value not in met for value, met in zip(values, seen, strict=True))
        if stays:
            for value, met in zip(values, seen, strict=True):
                met |= {value} if value == value else set()


def test_concepts_and_templates_are_chosen_by_name_or_pattern(write_dataset: Callable[..., DatasetRef]) -> None:
    for columns in (True, False):
        store = MemoryStore()
        ref = write_dataset(store, captions=24, columns=columns)
        dataset = load_dataset(store, [ref], views=4, concepts=["thing 3", "*[56]"], templates=["c"])
        assert dataset.concepts == ("thing 3", "thing 5", "thing 6")
        assert [dataset.concepts[code] for code in dataset.table.concept] == [row.concept for row in dataset.rows]
        assert (len(dataset.table), dataset.left_out) == (9, 15)
        with pytest.raises(UnknownName, match=r"data\.concepts: .* the concept 'thin 4'; did you mean thing"):
            load_dataset(store, [ref], views=4, concepts=["thing 3", "thin 4"])
        with pytest.raises(UnknownName, match=r"data\.templates: .* the template 'rel'; there are: c$"):
            load_dataset(store, [ref], views=4, templates=["rel"])
    assert resolve("tiny", {"data.concepts": ["a", "b*"]}).data.concepts == ("a", "b*")
    with pytest.raises(ValueError, match=r"data\.concepts: must be a list, not 'a'"):
        resolve("tiny", {"data.concepts": "a"})


def _scored(store: MemoryStore, write_dataset: Callable[..., DatasetRef], unit: int, score: float) -> DatasetRef:
    ref = write_dataset(store, captions=16)
    key = layout.commit(ref.job, unit)
    commit = Commit.from_bytes(store.get(key))
    groups = [row.model_copy(update={"scores": {"second": score}}) for row in commit.groups]
    store.put(key, commit.model_copy(update={"groups": tuple(groups)}).to_bytes())
    return ref


def test_a_dataset_tells_how_many_groups_are_left_out(write_dataset: Callable[..., DatasetRef]) -> None:
    store = MemoryStore()
    ref = _scored(store, write_dataset, 1, 0.5)
    dataset = load_dataset(store, [ref], views=4, min_scores={"second": 0.6})
    assert (dataset.left_out, len(dataset.rows), len(dataset.table), len(dataset.shard_of)) == (8, 8, 8, 8)
    assert {dataset.shard_of[i] for i in range(8)} == {0}
    assert load_dataset(store, [ref], views=4).left_out == 0


def test_nothing_left_is_refused(write_dataset: Callable[..., DatasetRef]) -> None:
    store = MemoryStore()
    ref = write_dataset(store, captions=8)
    commit = Commit.from_bytes(store.get(layout.commit(ref.job, 0)))
    groups = [row.model_copy(update={"scores": {"second": 0.0}}) for row in commit.groups]
    store.put(layout.commit(ref.job, 0), commit.model_copy(update={"groups": tuple(groups)}).to_bytes())
    with pytest.raises(DatasetInvalid, match="no caption group is within these bounds"):
        load_dataset(store, [ref], views=4, min_scores={"second": 1.0})
    assert load_dataset(store, [ref], views=4, max_scores={"second": 0.0}).left_out == 0
    with pytest.raises(DatasetInvalid, match="no caption group is within these bounds"):
        load_dataset(store, [ref], views=4, max_scores={"second": -0.5})


def test_filters_are_fields_of_the_run(small_config: Callable[..., Any]) -> None:
    config = small_config({"data.drop_near_duplicates": True, "data.min_scores": {"second": 1, "clip": 0.2}})
    assert config.data.min_scores == {"clip": 0.2, "second": 1.0}
    assert from_dict(to_dict(config)) == config
    with pytest.raises(ValueError, match=r"data\.min_scores\.clip: must be of type float"):
        resolve("tiny", {"data.min_scores": {"clip": "high"}})
    with pytest.raises(ValueError, match=r"data\.min_scores: must be an object of names and numbers"):
        resolve("tiny", {"data.min_scores": "second>1"})


def test_a_run_frozen_before_the_filters_goes_on_without_them() -> None:
    tree = to_dict(resolve("tiny"))
    filters = {"drop_near_duplicates", "min_scores", "max_scores", "concepts", "templates"}
    older = {**tree, "data": {k: v for k, v in tree["data"].items() if k not in filters}}
    assert from_dict(older) == resolve("tiny")
