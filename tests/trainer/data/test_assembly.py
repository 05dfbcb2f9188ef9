"""Parts of several jobs in one table: a caption that is there twice is found without a sort of all captions."""

from __future__ import annotations

import numpy as np
import pytest

from synfarm.contracts.ids import caption_id
from synfarm_trainer.data import assembly
from synfarm_trainer.data.table import GroupTable

JOBS = ("01hzzzzzzzzzzzzzzzzzzzzzz0", "01hzzzzzzzzzzzzzzzzzzzzzz9")


def replaced(table: GroupTable, **columns: object) -> GroupTable:
    names = ("jobs", "shard_job", "base", "starts", "offset", "concept")
    return GroupTable(**{**{name: getattr(table, name) for name in names}, **columns})


def grown_by_turns() -> GroupTable:
    """Two followed jobs: 4 shards of 5 captions, whose turns are 0 1 0 1."""
    shards = [(0, 0), (1, 0), (0, 5), (1, 5)]
    ids = [caption_id(JOBS[job], first + n) for job, first in shards for n in range(5)]
    return GroupTable.build(ids, np.repeat(np.arange(4), 5).tolist(), ["c"] * 20)


def test_jobs_that_grow_by_turns_are_told_apart_by_their_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    table = grown_by_turns()

    def sort_all(*args: object, **kwargs: object) -> None:
        raise AssertionError("captions were sorted, of which there may be hundreds of millions")

    monkeypatch.setattr(assembly.np, "unique", sort_all)
    assembly._check_distinct(table)


@pytest.mark.parametrize("base", [[0, 0, 4, 5], [0, 0, 0, 5], [6, 0, 5, 4]])
def test_a_caption_that_comes_again_in_a_later_turn_is_found(base: list[int]) -> None:
    with pytest.raises(ValueError, match="occurs twice"):
        assembly._check_distinct(replaced(grown_by_turns(), base=np.array(base)))


def test_a_caption_twice_in_a_shard_is_found() -> None:
    table = grown_by_turns()
    offset = table.offset.copy()
    offset[7] = offset[6]
    with pytest.raises(ValueError, match="occurs twice"):
        assembly._check_distinct(replaced(table, offset=offset))


def test_shards_that_interleave_without_a_common_caption_are_well() -> None:
    """No farm makes such units; they are looked at one by one."""
    table = replaced(
        grown_by_turns(), offset=np.tile(np.arange(0, 10, 2, dtype=np.uint8), 4), base=np.array([0, 0, 1, 1])
    )
    assembly._check_distinct(table)
