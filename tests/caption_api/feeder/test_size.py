"""A pass costs O(window): ten million units cost what a few thousand do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.layout import FAN
from synfarm.contracts.manifests import Counts, Progress
from synfarm.storage.memory import MemoryStore
from synfarm_caption_api.feeder.settings import FeederSettings

pytestmark = pytest.mark.integration

RULES = FeederSettings(progress_seconds=0, window_min=16, span=256)


class CountingStore(MemoryStore):
    """Counts requests by operation, and the keys that listings gave."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        super().__init__(fault=lambda operation, key: self.calls.update([operation]))

    def list(self, *args: Any, **kwargs: Any) -> Any:
        for info in super().list(*args, **kwargs):
            self.calls["listed"] += 1
            yield info


def cost_of_ten_passes(farm: Any, store: CountingStore) -> Counter[str]:
    farm.tick()
    farm.work_off()
    store.calls.clear()
    for _ in range(10):
        farm.tick()
    return Counter(store.calls)


@pytest.mark.parametrize("watermark", [0, 5_000_000])
def test_a_pass_over_ten_million_units_costs_what_a_small_job_costs(
    new_farm: Callable[..., Any], watermark: int
) -> None:
    store = CountingStore()
    farm = new_farm(store=store, rules=RULES)
    small = farm.submit(captions=4 * 300)
    for_small = cost_of_ten_passes(farm, store)
    store.delete(layout.active(small.job))
    farm.tick()
    farm.work_off()
    big = farm.submit(captions=40_000_000)
    assert big.units == 10_000_000
    parts = watermark // FAN
    start = parts * FAN  # a leader that takes over reads one part at most
    counts = Counts(units_committed=start, captions=4 * start)
    progress = Progress(job=big.job, watermark=start, counts=counts, parts=parts, as_of=utc_now())
    if watermark:
        store.put(layout.progress(big.job), progress.to_bytes())
    farm.tick()
    farm.clock.advance(RULES.epoch_grace_seconds + 1)
    for_big = cost_of_ten_passes(farm, store)
    assert farm.board.counters(big.job).counts.units_committed == start + 16
    assert for_big["listed"] <= for_small["listed"] + 10
    assert sum(for_big.values()) <= sum(for_small.values()) + 40
    assert farm.redis.memory_usage(farm.keys.sent(big.job)) < 10_000


def test_one_stuck_unit_bounds_how_far_the_others_run_ahead(new_farm: Callable[..., Any]) -> None:
    farm = new_farm(rules=RULES)
    spec = farm.submit(captions=40_000_000)
    farm.tick()
    stuck = farm.leases.claim(farm.pop_any())
    for _ in range(30):
        farm.tick()
        farm.work_off()
    assert farm.board.counters(spec.job).watermark == 0
    assert farm.board.counters(spec.job).frontier == RULES.span
    farm.leases.release(stuck, forget=True)
    farm.tick()
    farm.work_off()
    farm.tick()
    assert farm.progress(spec).watermark == RULES.span
