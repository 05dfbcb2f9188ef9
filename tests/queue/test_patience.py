"""When silence is a hang: as a rule, while a model is loaded, in the first unit after that, and after a SIGSTOP."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from synfarm.queue import patience as module
from synfarm.queue.patience import Patience


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def test_silence_is_a_hang_after_the_stall_time(clock: SimpleNamespace) -> None:
    patience = Patience(10, 100)
    assert (patience.is_over(9), patience.is_over(11), patience.bound) == (False, True, 10)


def test_a_load_and_the_first_step_after_it_have_a_bound_of_their_own(clock: SimpleNamespace) -> None:
    patience = Patience(10, 100)
    with patience.loading():
        assert patience.bound == 100
        clock.now += 99
        assert not patience.load_is_over
        assert not patience.is_over(99)
        clock.now += 2
        assert patience.load_is_over
        assert patience.is_over(101)
    assert not patience.load_is_over


def test_a_load_that_tells_its_unit_of_progress_may_take_as_long_as_it_likes(clock: SimpleNamespace) -> None:
    patience = Patience(10, 100)
    patience.unit_begins()
    with patience.loading():
        clock.now += 1000
        assert not patience.load_is_over
        assert not patience.is_over(9)
        assert patience.is_over(11)


def test_once_work_goes_on_after_a_load_the_rule_is_as_ever(clock: SimpleNamespace) -> None:
    patience = Patience(10, 100)
    patience.unit_begins()
    with patience.loading():
        clock.now += 50
    clock.now += 30
    assert not patience.is_over(80), "the first step compiles"
    assert patience.is_over(29), "the first step was done 29 s ago"
    assert not patience.is_over(9)


def test_a_load_before_the_first_unit_leaves_it_the_time_to_compile(clock: SimpleNamespace) -> None:
    patience = Patience(10, 100)
    with patience.loading():
        clock.now += 50
    clock.now += 1000
    patience.unit_begins()
    clock.now += 99
    assert not patience.is_over(99)
    patience.unit_ends()
    patience.unit_begins()
    clock.now += 11
    assert patience.is_over(11)


def test_a_load_that_was_none_changes_nothing(clock: SimpleNamespace) -> None:
    patience = Patience(10, 100)
    patience.unit_begins()
    with patience.loading() as load:
        load.happened = False
    clock.now += 11
    assert patience.is_over(11)


def test_a_process_that_stood_still_is_not_blamed_for_it(clock: SimpleNamespace) -> None:
    patience = Patience(10, 100)
    clock.now += 500
    patience.pardon()
    assert not patience.is_over(500)
    clock.now += 11
    assert patience.is_over(511)
