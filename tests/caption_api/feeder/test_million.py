"""A job with a million commits after Redis lost its memory: work goes on within seconds, at a counted price."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.layout import FAN
from synfarm.contracts.manifests import Counts, Progress
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectInfo
from synfarm_caption_api.feeder.settings import FeederSettings

pytestmark = pytest.mark.integration
COMMITTED = 1_000_000
RULES = FeederSettings(progress_seconds=0, window_min=16)


class IndexedStore(MemoryStore):
    """Lists as a real store does, at the price of what it gives and not of all there is, and counts its requests."""

    def __init__(self) -> None:
        super().__init__(fault=lambda operation, key: self.calls.update([operation]))
        self.calls: Counter[str] = Counter()
        self.pages = 0
        """LIST requests of up to 1,000 keys."""
        self._order: list[str] = []
        self._sorted_at = -1

    def list(self, prefix: str, *, start_after: str | None = None, limit: int | None = None) -> Iterator[ObjectInfo]:
        self._enter("list", prefix)
        with self._lock:
            if self._sorted_at != len(self._objects):
                self._order, self._sorted_at = sorted(self._objects), len(self._objects)
            order = self._order
        place = bisect_left(order, prefix) if start_after is None else bisect_right(order, max(start_after, prefix))
        given = 0
        self.pages += 1
        while place < len(order) and order[place].startswith(prefix) and given != limit:
            if given and given % 1000 == 0:
                self.pages += 1
            info = self.head(order[place])
            if info is not None:
                yield info
                given += 1
            place += 1

    def fill(self, keys: Iterator[str], data: bytes) -> None:
        """Many objects of the same bytes, quickly."""
        stored = self._write("template", data), self._objects.pop("template")
        for key in keys:
            self._objects[key] = type(stored[1])(data, ObjectInfo(key, len(data), stored[0].etag, stored[0].modified))


def test_a_million_commits_after_a_flush(
    new_farm: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    store = IndexedStore()
    farm = new_farm(store=store, rules=RULES)
    spec = farm.submit(captions=4 * 2 * COMMITTED)
    farm.tick()
    farm.work_off()  # units 0 to 15 are committed as they are in earnest
    example = store.get(layout.commit(spec.job, 0)).replace(b'"unit":0', b'"unit":%d')
    store.fill((layout.commit(spec.job, unit) for unit in range(16, COMMITTED)), b"{}")
    # The feeder was killed a while after its last note: the last units have to be read again.
    parts = COMMITTED // FAN
    watermark = COMMITTED - 300
    for unit in range(parts * FAN, COMMITTED):
        store.put(layout.commit(spec.job, unit), example.replace(b"%d", str(unit).encode(), 1))
    progress = Progress(
        job=spec.job,
        watermark=watermark,
        counts=Counts(units_committed=watermark),
        parts=parts,
        as_of=utc_now(),
    )
    store.put(layout.progress(spec.job), progress.to_bytes())
    farm.redis.flushall()
    farm.feeder = farm.new_feeder()
    store.pages, began, waited, passes = 0, time.monotonic(), 0.0, 0
    store.calls.clear()
    while not farm.board.counters(spec.job).sends:
        farm.tick(RULES.pass_seconds)
        passes += 1
        waited += RULES.pass_seconds
        assert waited < 30, "nothing was sent within 30 s by the feeder's clock"
    record_property("seconds of work before the first unit", round(time.monotonic() - began, 2))
    record_property("LIST requests a pass", store.pages / passes)
    # active/, openings of the job (when it is opened), commits and failures from the watermark on.
    assert store.pages / passes <= 6 + (COMMITTED - parts * FAN) / 1000
    store.pages = 0
    for _ in range(10):
        farm.tick()
        farm.work_off()
    assert farm.board.counters(spec.job).watermark >= COMMITTED
    assert store.pages / 10 <= 8
