"""The breaker: when it opens, who may close it, and that late answers change nothing."""

from __future__ import annotations

from synfarm_caption_api.llm.breaker import Breaker, BreakerState


def _closed() -> Breaker:
    breaker = Breaker(threshold=3)
    breaker.probed()
    assert breaker.state is BreakerState.CLOSED
    return breaker


def test_failures_in_a_row_open_it_and_an_answer_between_them_does_not() -> None:
    breaker = _closed()
    for _ in range(10):
        breaker.failed(breaker.epoch, "boom")
        breaker.failed(breaker.epoch, "boom")
        breaker.succeeded(breaker.epoch)
    assert breaker.state is BreakerState.CLOSED
    for _ in range(3):
        breaker.failed(breaker.epoch, "boom")
    assert (breaker.state, breaker.reason) == (BreakerState.OPEN, "boom")


def test_a_hopeless_failure_opens_it_at_once() -> None:
    breaker = _closed()
    breaker.failed(breaker.epoch, "401", hopeless=True)
    assert breaker.state is BreakerState.OPEN


def test_after_a_failure_a_probe_gives_one_trial_and_only_a_good_one_closes_it() -> None:
    breaker = _closed()
    breaker.trip("gone")
    breaker.probed()
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.failed(breaker.epoch, "still ill")
    assert (breaker.state, breaker.openings) == (BreakerState.OPEN, 2)
    breaker.probed()
    breaker.succeeded(breaker.epoch)
    assert (breaker.state, breaker.openings) == (BreakerState.CLOSED, 0)


def test_late_results_of_an_outage_change_nothing() -> None:
    breaker = _closed()
    before = breaker.epoch
    breaker.trip("gone")
    breaker.succeeded(before)
    assert breaker.state is BreakerState.OPEN
    breaker.probed()
    breaker.succeeded(before)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.succeeded(breaker.epoch)
    for _ in range(10):
        breaker.failed(before, "timed out long ago")
    assert breaker.state is BreakerState.CLOSED
