"""The quiet parts of the random chaos suite: what falls is told by the seed, and what counts as repair."""

from __future__ import annotations

from itertools import islice

import pytest
from pydantic import SecretStr
from tests.chaos.random_faults.kinds import KINDS
from tests.chaos.random_faults.load import draw_job
from tests.chaos.random_faults.plan import draw_faults
from tests.chaos.random_faults.repairs import Loss, Repairs, seconds_outside

from synfarm.contracts.renders import Stage, UnitTask
from synfarm.queue.app import connect
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.keys import Keys
from synfarm.queue.lease import LeaseBook, LeaseSettings
from synfarm.settings import RedisSettings
from synfarm.storage.memory import MemoryStore

NAMES = [kind.name for kind in KINDS]


def test_the_same_seed_gives_the_same_faults_with_the_same_choices() -> None:
    first, again, other = (list(islice(draw_faults(seed, NAMES), 60)) for seed in (7, 7, 8))
    assert first == again
    assert [planned.chance().random() for planned in first] == [planned.chance().random() for planned in again]
    assert [planned.kind for planned in first] != [planned.kind for planned in other]
    assert draw_job(7, 3) == draw_job(7, 3) != draw_job(7, 4)


def test_the_order_of_the_kinds_in_the_code_does_not_matter() -> None:
    plans = [list(islice(draw_faults(7, names), 60)) for names in (NAMES, NAMES[::-1])]
    assert plans[0] == plans[1]


def test_every_round_has_every_kind_once_in_its_own_order() -> None:
    drawn = [planned.kind for planned in islice(draw_faults(7, NAMES), 2 * len(NAMES))]
    first, second = drawn[: len(NAMES)], drawn[len(NAMES) :]
    assert sorted(first) == sorted(second) == sorted(NAMES)
    assert first != second


def test_kinds_have_different_names() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(
    ("away", "left"),
    [
        ([], 10),
        ([(2, 5)], 7),
        ([(-5, 2), (8, 20)], 6),
        ([(2, 5), (4, 6), (3, 4)], 6),
        ([(-3, 30)], 0),
        ([(12, 14), (-4, -2)], 10),
    ],
)
def test_time_in_which_something_was_away_is_left_out_once(away: list[tuple[float, float]], left: float) -> None:
    assert seconds_outside(0, 10, away) == left


@pytest.mark.integration
def test_a_loss_is_repaired_by_a_new_message_or_another_workers_lease(redis_url: str) -> None:
    settings, keys = RedisSettings(url=SecretStr(redis_url), namespace="test"), Keys("test")
    redis, job, queue = connect(settings), "0" * 26, "render.x.low"
    board = Board(redis, keys, RedisClock(redis))
    book = LeaseBook(redis, keys, worker="w", settings=LeaseSettings())
    repairs = Repairs(redis, board.flight, MemoryStore())

    def send(unit: int) -> int:
        redis.rpush(keys.queue(queue), unit)
        return board.record_send(job, unit, Stage.RENDER, queue)

    def claim(unit: int, sequence: int) -> str:
        lease = book.claim(UnitTask(job=job, unit=unit, stage=Stage.RENDER, queue=queue, sequence=sequence))
        assert lease is not None
        return lease.attempt

    killed, dropped, flushed, after = send(1), send(2), send(3), send(4)
    losses = {
        "killed": Loss(job, 1, killed, claim(1, killed)),
        "dropped": Loss(job, 2, dropped, queue=queue),
        "flushed": Loss(job, 3, flushed),
    }

    def states() -> list[str]:
        seen = repairs._look(list(losses.values()))
        assert seen is not None
        return [seen[loss] for loss in losses.values()]

    assert states() == ["lost", "waits", "lost"]
    claim(4, after)
    assert states() == ["lost", "lost", "lost"], "a later message was taken: the dropped one should have been"
    send(1)
    claim(3, flushed)
    assert states() == ["repaired", "lost", "repaired"]
    book.close()
    redis.close()
