"""Retry and extension: only what is missing is made, each generation has a whole manifest, kills leave no trace."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit, Failure
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import manifest_hash, read_part
from synfarm.contracts.renders import Stage
from synfarm.queue.lease import Lease
from synfarm.queue.unit import UnitFault
from synfarm.storage.columns_file import read_columns
from synfarm.storage.group_columns import UnitColumns, split_units
from synfarm.storage.protocol import StoreUnavailable

pytestmark = pytest.mark.integration


def lines(farm: Any, ended: Any) -> list[Any]:
    return [line for part in ended.parts for line in read_part(farm.store.get(part.key))]


def with_dead_units(farm: Any, *dead: int, stage: Stage = Stage.RENDER, captions: int = 78) -> Any:
    """A job that ended with dead units."""
    whole = farm.work[stage]

    def poisoned(spec: Any, task: Any, lease: Lease) -> None:
        if task.unit in dead:
            raise UnitFault("NaN")
        whole(spec, task, lease)

    farm.work[stage] = poisoned
    spec = farm.submit(captions=captions, budget=1.0)
    assert farm.finish(spec).counts.units_dead == len(dead)
    farm.work[stage] = whole
    farm.renders.clear()
    return spec


@pytest.mark.parametrize("stage", list(Stage))
def test_a_retry_makes_the_dead_units_alone_and_a_whole_manifest(farm: Any, stage: Stage) -> None:
    spec = with_dead_units(farm, 3, 12, stage=stage)
    before = farm.ended(spec)
    farm.open_generation(spec, 2, "retry", 78)
    ended = farm.finish(spec)
    empty = sum(index % 7 == 6 for index in range(78))
    assert (ended.generation, ended.state, sorted(farm.renders)) == (2, JobState.COMPLETED, [3, 12])
    assert [line.unit for line in lines(farm, ended)] == list(range(20))
    assert (ended.counts.captions, ended.counts.empty) == (78 - empty, empty)
    assert (ended.draws, ended.rejections) == (78 + 2 * empty, {"too_short": 3 * empty})
    kept = Failure.from_bytes(farm.store.get(layout.retried(spec.job, 1, 12)))
    assert (kept.unit, kept.reason) == (12, "NaN")
    assert not list(farm.store.list(layout.failures_prefix(spec.job)))
    assert lines(farm, before)[12].status == "dead"  # the old generation stays readable
    assert farm.board.counters(spec.job).counts == ended.counts


def test_a_unit_may_die_again_and_be_tried_again(farm: Any) -> None:
    spec = with_dead_units(farm, 3)
    whole = farm.work[Stage.RENDER]
    farm.work[Stage.RENDER] = lambda *_: (_ for _ in ()).throw(UnitFault("again"))
    farm.open_generation(spec, 2, "retry", 78)
    second = farm.finish(spec)
    assert (second.generation, second.counts.units_dead) == (2, 1)
    assert Failure.from_bytes(farm.store.get(layout.failure(spec.job, 3))).reason == "again"
    farm.work[Stage.RENDER] = whole
    farm.open_generation(spec, 3, "retry", 78)
    third = farm.finish(spec)
    assert (third.generation, third.state, third.draws) == (3, JobState.COMPLETED, 78 + 2 * 11)


def test_an_extension_goes_on_after_the_last_unit(farm: Any) -> None:
    spec = farm.submit(captions=38)  # the last unit holds two of four
    first = farm.finish(spec)
    assert farm.runner._specs.get(spec.job).units == 10  # a worker that knows the plan as it was
    farm.renders.clear()
    longer = farm.open_generation(spec, 2, "extend", 61)
    ended = farm.finish(longer)
    assert (ended.planned, ended.state, sorted(farm.renders)) == (61, JobState.COMPLETED, list(range(10, 16)))
    assert ended.counts.captions + ended.counts.empty == 61
    assert lines(farm, ended)[:10] == lines(farm, first)
    empty = sum(index % 7 == 6 for index in range(61))
    assert ended.draws == 61 + 2 * empty


def test_an_extension_lets_dead_units_rest_and_counts_nothing_twice(farm: Any) -> None:
    spec = with_dead_units(farm, 3, 12)
    draws = farm.ended(spec).draws
    ended = farm.finish(farm.open_generation(spec, 2, "extend", 100))
    assert (ended.counts.units_dead, ended.counts.units_committed) == (2, 24)
    empty = sum(index % 7 == 6 for index in range(78, 100))
    assert ended.draws == draws + 22 + 2 * empty


def test_captions_of_the_generation_before_stay_written(farm: Any) -> None:
    spec = farm.submit(captions=38)
    farm.finish(spec)
    longer = farm.open_generation(spec, 2, "extend", 61)
    farm.tick()
    counters = farm.board.counters(longer.job)
    assert counters.written == counters.counts.captions > 0
    ended = farm.finish(longer)
    assert farm.board.counters(longer.job).written == ended.counts.captions


@pytest.mark.parametrize(("why", "captions"), [("retry", 78), ("extend", 100)])
@pytest.mark.parametrize("stage", list(Stage))
def test_captions_of_units_that_were_dead_stay_written(farm: Any, stage: Stage, why: str, captions: int) -> None:
    spec = with_dead_units(farm, 3, 12, stage=stage)
    kept = [index % 7 != 6 for index in range(captions)]
    dead = sum(sum(kept[4 * unit : 4 * unit + 4]) for unit in (3, 12))
    lost = dead if stage is Stage.CAPTION else 0
    assert farm.board.counters(spec.job).written == sum(kept[:78]) - lost
    farm.finish(farm.open_generation(spec, 2, why, captions))
    assert farm.board.counters(spec.job).written == sum(kept) - (0 if why == "retry" else lost)


def test_what_the_manifest_tells_is_not_read_again(farm: Any) -> None:
    spec = with_dead_units(farm, 3)
    read: list[str] = []
    farm.open_generation(spec, 2, "retry", 78)
    farm.store.fault = lambda operation, key: read.append(key) if operation == "get" else None
    farm.finish(spec)
    assert [key for key in read if "/commits/" in key] == [layout.commit(spec.job, 3)]


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_feeder_killed_while_it_opens_a_generation_is_made_up_for(farm: Any, moved: int) -> None:
    spec = with_dead_units(farm, 3, 5, 12)
    farm.open_generation(spec, 2, "retry", 78)
    deleted = 0

    def fall(operation: str, key: str) -> None:
        nonlocal deleted
        if operation == "delete" and "/failures/" in key:
            if deleted == moved:
                raise StoreUnavailable(key)
            deleted += 1

    farm.store.fault = fall
    with pytest.raises(StoreUnavailable):
        farm.tick()
    farm.store.fault = None
    farm.feeder = farm.new_feeder()
    farm.clock.advance(farm.rules.lock_seconds + 1)
    farm.redis.delete(farm.keys.leader)
    assert farm.finish(spec).counts.units_committed == 20
    assert sorted(farm.renders) == [3, 5, 12]
    assert len(list(farm.store.list(f"jobs/{spec.job}/retried/"))) == 3


def test_a_generation_survives_a_flush_and_a_new_leader(farm: Any) -> None:
    spec = with_dead_units(farm, 3, 12, captions=200)
    farm.open_generation(spec, 2, "retry", 200)
    for _ in range(2):
        farm.tick()
    farm.redis.flushall()
    farm.feeder = farm.new_feeder()
    ended = farm.finish(spec)
    assert (ended.generation, ended.counts.units_committed, ended.counts.units_dead) == (2, 50, 0)
    assert farm.board.counters(spec.job).counts == ended.counts


def test_cancelling_a_retry_keeps_every_unit_that_was_made(farm: Any) -> None:
    spec = with_dead_units(farm, 3, captions=600)  # more units than the span of 64
    farm.open_generation(spec, 2, "retry", 600)
    farm.tick()
    farm.store.create(layout.cancel(spec.job), b"{}")
    farm.flags.refresh(spec.job)
    ended = farm.finish(spec)
    assert (ended.state, ended.counts.units_committed) == (JobState.CANCELLED, 149)
    assert [line.unit for line in lines(farm, ended)] == [unit for unit in range(150) if unit != 3]


def columns_of(farm: Any, ended: Any) -> dict[int, UnitColumns]:
    found: dict[int, UnitColumns] = {}
    for part in ended.parts:
        found |= split_units(read_columns(farm.store, part.columns)[0])
    return found


def committed(farm: Any, spec: Any, units: Iterable[int]) -> dict[int, UnitColumns]:
    """What the columns ought to be."""
    found = {}
    for unit in units:
        data = farm.store.get(layout.commit(spec.job, unit))
        if (own := UnitColumns.of(Commit.from_bytes(data), hashlib.sha256(data).hexdigest())) is not None:
            found[unit] = own
    return found


def test_every_part_has_the_columns_of_its_commits(farm: Any) -> None:
    spec = with_dead_units(farm, 3)
    first = farm.ended(spec)
    assert columns_of(farm, first) == committed(farm, spec, [unit for unit in range(20) if unit != 3])
    assert first.manifest_sha256 == manifest_hash(first.parts)
    assert first.manifest_sha256 != manifest_hash([part.model_copy(update={"columns": None}) for part in first.parts])
    farm.open_generation(spec, 2, "retry", 78)
    assert columns_of(farm, farm.finish(spec)) == committed(farm, spec, range(20))


def test_a_later_generation_reads_columns_in_place_of_commits(farm: Any) -> None:
    spec = farm.submit(captions=78)
    farm.finish(spec)
    read: list[str] = []
    get = farm.store.get
    farm.store.get = lambda key: (read.append(key), get(key))[1]
    farm.open_generation(spec, 2, "extend", 90)
    ended = farm.finish(spec)
    units = {layout.parse_unit(key)[2] for key in read if "/commits/" in key}
    assert not units & set(range(19))
    assert {20, 21} <= units
    farm.store.get = get
    assert columns_of(farm, ended) == committed(farm, spec, range(ended.counts.units_committed))


def test_a_generation_after_one_of_an_older_version_reads_its_commits(farm: Any) -> None:
    """It wrote no columns, and its end record names none."""
    spec = farm.submit(captions=78)
    ended = farm.finish(spec)
    older = tuple(part.model_copy(update={"columns": None}) for part in ended.parts)
    for part in ended.parts:
        farm.store.delete(part.columns.key)
    record = ended.model_copy(update={"parts": older, "manifest_sha256": manifest_hash(older)})
    assert b"columns" not in record.to_bytes()
    farm.store.put(layout.ended(spec.job, 1), record.to_bytes())
    farm.open_generation(spec, 2, "extend", 90)
    again = farm.finish(spec)
    assert columns_of(farm, again) == committed(farm, spec, range(again.counts.units_committed))
    assert again.draws == ended.draws + 12 + 2 * sum(index % 7 == 6 for index in range(78, 90))


def test_parts_that_an_older_version_wrote_of_a_running_job_stay_without(farm: Any) -> None:
    spec = farm.submit(captions=78)
    while not farm.store.head(layout.manifest_columns(spec.job, 1, 0)):
        farm.tick()
        farm.work_off()
    farm.store.delete(layout.manifest_columns(spec.job, 1, 0))
    farm.feeder = farm.new_feeder()
    farm.redis.delete(farm.keys.leader)
    assert [part.columns is None for part in farm.finish(spec).parts] == [True, False, False]


class _Killed(BaseException):
    pass


def test_columns_that_a_killed_feeder_left_out_are_written_by_the_next(farm: Any) -> None:
    spec = farm.submit(captions=78)
    key = layout.manifest_columns(spec.job, 1, 0)

    def kill(operation: str, asked: str) -> None:
        if (operation, asked) == ("create", key):
            raise _Killed

    def work() -> None:
        while True:
            farm.tick()
            farm.work_off()

    farm.store.fault = kill
    with pytest.raises(_Killed):
        work()
    farm.store.fault = None
    assert farm.store.head(layout.manifest_part(spec.job, 1, 0)) is not None
    farm.feeder = farm.new_feeder()
    farm.redis.delete(farm.keys.leader)
    assert columns_of(farm, farm.finish(spec)) == committed(farm, spec, range(20))
