"""The pure decisions: how large the window is, who may send, what counts as lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from synfarm.contracts.base import utc_now
from synfarm.contracts.renders import Stage
from synfarm.queue.flight import Holder, Sent
from synfarm.queue.presence import WorkerInfo
from synfarm_caption_api.feeder.repair import QueueWatch, Verdict, judge
from synfarm_caption_api.feeder.window import Claimant, share, window_size

QUEUE = "render.collage-s.normal"
SENT = Sent(Stage.RENDER, QUEUE, 10, at=0.0)


def worker(kind: str, slots: int = 1, *capabilities: str, draining: bool = False) -> WorkerInfo:
    return WorkerInfo.model_validate(
        {
            "id": "w",
            "kind": kind,
            "slots": slots,
            "capabilities": capabilities,
            "started_at": utc_now(),
            "draining": draining,
        }
    )


def test_the_window_scales_with_the_slots_that_serve_the_capability() -> None:
    workers = [
        worker("caption", 3),
        worker("render", 1, "sd15-m"),
        worker("render", 1, "collage-s"),
        worker("render", 9, "collage-s", draining=True),
    ]
    assert window_size(workers, "collage-s", per_slot=4, low=4, high=100) == 16
    assert window_size(workers, "collage-s", per_slot=4, low=4, high=10) == 10
    assert window_size([], "collage-s", per_slot=4, low=4, high=10) == 4


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), min_size=1, max_size=8),
    st.integers(0, 60),
)
def test_shares_differ_by_at_most_one_between_owners_that_gained(jobs: list[tuple[str, int]], window: int) -> None:
    claimants = [Claimant(f"j{n}", owner, "pool", held) for n, (owner, held) in enumerate(jobs)]
    held = sum(claimant.in_flight for claimant in claimants)
    gained = list(share(claimants, window))
    assert len(gained) == max(0, window - held)
    total = Counter({owner: 0 for owner, _ in jobs})
    for claimant in claimants:
        total[claimant.owner] += claimant.in_flight
    before = dict(total)
    total.update(claimant.owner for claimant in gained)
    grown = [total[owner] for owner in total if total[owner] > before[owner]]
    if grown:
        assert max(grown) - min(total.values()) <= 1


def watch_at(*views: tuple[float, int, int]) -> QueueWatch:
    """Passes as (time, queue length, highest claimed)."""
    watch = QueueWatch(claim_gap=30, settle=5)
    for now, length, claimed in views:
        watch.observe(now, {QUEUE: length}, {QUEUE: claimed})
    return watch


def verdict(watch: QueueWatch, now: float, claim: Holder | None = None, *, leased: bool = False) -> Verdict:
    return judge(SENT, claim, leased, watch, now, age_seconds=1000)


def test_a_lease_keeps_whatever_else_is_seen() -> None:
    gone = watch_at((0, 0, 99), (100, 0, 99))
    assert verdict(gone, 100) is Verdict.MESSAGE_GONE
    assert verdict(gone, 100, leased=True) is Verdict.KEEP


def test_a_claim_without_lease_is_a_lost_worker_only_if_it_is_of_this_message() -> None:
    waiting = watch_at((0, 5, 0))
    own = Holder("a", "w", Stage.RENDER, QUEUE, 10)
    older = Holder("a", "w", Stage.CAPTION, "caption.normal", 3)
    assert verdict(waiting, 1, own) is Verdict.LOST_WORKER
    assert verdict(waiting, 1, older) is Verdict.KEEP


def test_an_empty_queue_counts_once_it_has_settled() -> None:
    assert verdict(watch_at((0, 0, 0), (4, 0, 0)), 4) is Verdict.KEEP
    assert verdict(watch_at((0, 0, 0), (5, 0, 0)), 5) is Verdict.MESSAGE_GONE
    assert verdict(watch_at((0, 0, 0), (4, 1, 0), (5, 0, 0)), 5) is Verdict.KEEP


def test_a_later_claim_counts_after_the_gap_however_often_the_queue_moves_on() -> None:
    views = [(float(t), 3, 9 + t) for t in range(40)]  # message 11 is claimed at 2, and one more each second
    assert verdict(watch_at(*views[:32]), 31) is Verdict.KEEP
    assert verdict(watch_at(*views[:33]), 32) is Verdict.MESSAGE_GONE


def test_a_unit_that_waits_too_long_is_aged() -> None:
    assert verdict(watch_at((1001, 3, 0)), 1001) is Verdict.AGED
