"""A job that many look at is read from the store by one of them at a time."""

from __future__ import annotations

import threading
import time
from typing import Any

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectInfo
from synfarm_caption_api.api.reading import JobReader

JOB = "01jd0000000000000000000000"


class SlowStore(MemoryStore):
    """Counts how often it is asked whether the job is active; each waits until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.through = threading.Event()

    def head(self, key: str) -> ObjectInfo | None:
        if key == layout.active(JOB):
            self.reads += 1
            assert self.through.wait(60)
        return super().head(key)


def _reader(fresh_seconds: float) -> tuple[SlowStore, JobReader]:
    store = SlowStore()
    plain = JobRequest.model_validate({"concepts": ["dog"], "captions": 8}).model_dump(exclude={"captions_per_unit"})
    spec = JobSpec(**plain, job=JOB, owner="ada", created_at=utc_now(), captions_per_unit=8)
    store.create(layout.job(JOB), spec.to_bytes())
    store.create(layout.active(JOB), b"{}")
    unused: Any = None  # board and flags are for views
    return store, JobReader(store, unused, unused, unused, fresh_seconds=fresh_seconds)


def _all_at_once(reader: JobReader, store: SlowStore, count: int = 20) -> list[JobSpec]:
    found: list[JobSpec] = []
    start = threading.Barrier(count)

    def look() -> None:
        start.wait(60)
        found.append(reader.spec(JOB, Principal(owner="ada", role="user")))

    threads = [threading.Thread(target=look) for _ in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)  # whoever would read as well has begun to
    store.through.set()
    for thread in threads:
        thread.join(60)
    return found


def test_who_comes_first_reads_and_the_others_wait_for_it() -> None:
    store, reader = _reader(fresh_seconds=3600)
    assert len(_all_at_once(reader, store)) == 20
    assert store.reads == 1


def test_what_was_fresh_a_moment_ago_is_given_while_one_reads_it_anew() -> None:
    store, reader = _reader(fresh_seconds=1.0)
    store.through.set()
    reader.spec(JOB, Principal(owner="ada", role="user"))
    store.through.clear()
    time.sleep(1.0)
    one = threading.Thread(target=reader.spec, args=(JOB, Principal(owner="ada", role="user")))
    one.start()
    end = time.monotonic() + 60
    while store.reads < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    remembered, age = reader._remembered(JOB)
    assert remembered is not None
    if age < 1.9:  # on a machine that stood still meanwhile it is too old to be given
        assert reader.spec(JOB, Principal(owner="ada", role="user")).owner == "ada"
        assert store.reads == 2
    store.through.set()
    one.join(60)


def test_without_a_promise_of_freshness_every_look_reads() -> None:
    store, reader = _reader(fresh_seconds=0.0)
    store.through.set()
    for _ in range(3):
        reader.spec(JOB, Principal(owner="ada", role="user"))
    assert store.reads == 3
