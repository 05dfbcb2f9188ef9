"""What stragglers and older memories leave in Redis of ended jobs goes, and what belongs to living ones stays."""

from __future__ import annotations

from typing import Any

from synfarm.contracts.renders import Stage
from synfarm.queue.dispatch import queue_of


def _lasting(farm: Any, job: str) -> list[str]:
    """Keys of a job that do not expire."""
    return sorted(key for key in farm.redis.scan_iter(farm.keys.job(f"{job}*")) if farm.redis.ttl(key) == -1)


def test_a_send_after_the_end_is_dropped_within_the_hour(farm: Any) -> None:
    spec = farm.submit()
    farm.finish(spec)
    assert _lasting(farm, spec.job) == []
    # A caption worker that slept through the end of its job goes on with its unit.
    farm.dispatch.send(spec, 3, Stage.RENDER)
    assert farm.board.flight.in_flight(spec.job) == 1
    farm.tick()
    assert farm.board.flight.in_flight(spec.job) == 1, "it does not look at every key in every pass"
    farm.tick(3600)
    assert (farm.board.flight.in_flight(spec.job), _lasting(farm, spec.job)) == (0, [])
    assert farm.board.counters(spec.job).counts.units_committed == 10, "what readers look at stays for its day"


def test_an_older_memory_with_a_job_that_has_ended_since_is_dropped_at_once(farm: Any) -> None:
    spec = farm.submit(captions=160)
    farm.tick()
    farm.work_off()
    farm.tick()
    keys = [*_lasting(farm, spec.job), farm.keys.beat]
    old = {key: farm.redis.execute_command("DUMP", key, NEVER_DECODE=True) for key in keys}
    farm.finish(spec)
    for key, value in old.items():  # a restart from an older file
        farm.redis.restore(key, 0, value, replace=True)
    assert farm.board.flight.in_flight(spec.job) > 0
    farm.tick()
    assert (farm.board.flight.in_flight(spec.job), _lasting(farm, spec.job)) == (0, [])


def test_jobs_at_work_keep_everything(farm: Any) -> None:
    spec = farm.submit()
    farm.tick()
    before = _lasting(farm, spec.job)
    farm.tick(3600)
    assert _lasting(farm, spec.job) == before != []
    # Also one that this feeder has not met yet.
    other = farm.submit()
    farm.board.record_send(other.job, 0, Stage.CAPTION, queue_of(other, Stage.CAPTION))
    farm.feeder._leftovers.reset()
    farm.feeder._leftovers.sweep(farm.clock.now(), ())
    assert farm.board.flight.in_flight(other.job) == 1
    farm.finish(spec)
