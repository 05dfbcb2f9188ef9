"""Deletion: workers let go first, nothing is left but the tombstone, kills and pins at any moment do no harm."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.renders import Stage
from synfarm.contracts.tombstones import Tombstone
from synfarm.queue.events import EventLog
from synfarm.queue.unit import Outcome
from synfarm.storage.protocol import StoreUnavailable
from synfarm_caption_api.feeder.purge import binding_pin
from synfarm_caption_api.feeder.settings import FeederSettings

pytestmark = pytest.mark.integration
RULES = FeederSettings(pass_seconds=0.01, window_min=4, span=64, part_units=8, progress_seconds=0, deletes_per_pass=7)


def delete(farm: Any, job: str) -> None:
    """As the API does."""
    farm.store.create(layout.tombstone(job), Tombstone(by="me", at=utc_now()).to_bytes())
    farm.store.create(layout.active(job), b"{}")
    farm.flags.refresh(job)


def left(farm: Any, job: str) -> list[str]:
    return [info.key for info in farm.store.list("") if job in info.key]


@pytest.mark.parametrize("ended", [False, True])
def test_only_the_tombstone_stays(new_farm: Any, ended: bool) -> None:
    farm = new_farm(rules=RULES)
    spec, other = farm.submit(), farm.submit()
    if ended:
        farm.finish(spec)
    else:
        farm.tick()
        farm.work_off()
    delete(farm, spec.job)
    for _ in range(20):
        farm.tick()
    assert left(farm, spec.job) == [layout.tombstone(spec.job)]
    assert [str(key) for key in farm.redis.keys(f"*{spec.job}*") if ":queue:" not in str(key)] != []
    assert not farm.redis.exists(farm.keys.job(spec.job))
    last = EventLog(farm.redis, farm.keys).read(spec.job, None)[-1]
    assert (last.data["state"], last.data["reason"]) == ("cancelled", "deleted")
    assert farm.redis.ttl(farm.keys.events(spec.job)) > 0
    assert farm.finish(other).counts.units_committed == 10


def test_a_unit_in_work_is_let_go_before_anything_is_removed(new_farm: Any) -> None:
    farm = new_farm(rules=RULES)
    spec = farm.submit()
    farm.tick()
    lease = farm.leases.claim(farm.pop("caption.normal"))
    delete(farm, spec.job)
    for _ in range(5):
        farm.tick()
    assert farm.store.head(layout.job(spec.job)) is not None
    assert farm.runner.run(farm.pop("caption.normal"), farm.work[Stage.CAPTION]) is Outcome.HANDED_BACK
    farm.leases.release(lease)
    for _ in range(5):
        farm.tick()
    assert left(farm, spec.job) == [layout.tombstone(spec.job)]


def test_a_purge_goes_on_where_a_kill_left_it(new_farm: Any) -> None:
    farm = new_farm(rules=RULES)
    spec = farm.submit()
    farm.finish(spec)
    delete(farm, spec.job)
    whole = len(left(farm, spec.job))
    for _ in range(whole):
        deleted = 0

        def fall(operation: str, key: str) -> None:
            nonlocal deleted
            if operation == "delete":
                deleted += 1
                if deleted > 1:
                    raise StoreUnavailable(key)

        farm.store.fault = fall
        try:
            for _ in range(3):
                farm.tick()
        except StoreUnavailable:
            pass
        farm.store.fault = None
        farm.redis.flushall()
        farm.feeder = farm.new_feeder()
        if layout.job(spec.job) in left(farm, spec.job):
            assert layout.active(spec.job) in left(farm, spec.job)
    for _ in range(3):
        farm.tick()
    assert left(farm, spec.job) == [layout.tombstone(spec.job)]


def test_a_pin_that_was_first_takes_the_deletion_back(new_farm: Any) -> None:
    farm = new_farm(rules=RULES)
    spec, run = farm.submit(), str(ULID()).lower()
    ended = farm.finish(spec)
    farm.store.create(layout.pin(spec.job, run), b"{}")  # the API was killed between its two looks
    delete(farm, spec.job)
    for _ in range(5):
        farm.tick()
    assert farm.store.head(layout.tombstone(spec.job)) is not None
    farm.tick(RULES.pin_settle_seconds)
    farm.tick()
    assert farm.store.head(layout.tombstone(spec.job)) is None
    assert farm.ended(spec) == ended
    assert not farm.flags.get(spec.job).deleted


def test_a_pin_that_comes_after_the_purge_began_changes_nothing(new_farm: Any) -> None:
    farm = new_farm(rules=RULES)
    spec = farm.submit(captions=400)
    farm.finish(spec)
    delete(farm, spec.job)
    for _ in range(3):
        farm.tick()
    farm.store.create(layout.pin(spec.job, str(ULID()).lower()), b"{}")
    farm.redis.flushall()
    farm.feeder = farm.new_feeder()
    for _ in range(80):
        farm.tick()
    assert left(farm, spec.job) == [layout.tombstone(spec.job)]


def test_a_pin_without_a_run_binds_for_ten_minutes(new_farm: Any) -> None:
    farm = new_farm(rules=RULES)
    spec, run = farm.submit(), str(ULID()).lower()
    farm.store.create(layout.pin(spec.job, run), b"{}")
    assert binding_pin(farm.store, spec.job) == run
    later = lambda: utc_now() + timedelta(minutes=11)  # noqa: E731
    assert binding_pin(farm.store, spec.job, later) is None
    farm.store.create(layout.run(run), b"{}")
    assert binding_pin(farm.store, spec.job, later) == run
