"""Job specs with the openings that extend them, read once: neither ever changes, openings are only added."""

from __future__ import annotations

import threading
from collections import OrderedDict

from synfarm.contracts import layout
from synfarm.contracts.generations import Opening, planned_by
from synfarm.contracts.jobs import JobSpec
from synfarm.storage.protocol import ObjectStore

__all__ = ["SpecCache", "read_openings", "read_spec"]


def read_openings(store: ObjectStore, job: str) -> list[Opening]:
    """What opened the generations after the first, in order.

    Raises:
        StoreError: the store is away.
    """
    return [Opening.from_bytes(store.get(info.key)) for info in store.list(layout.openings_prefix(job))]


def read_spec(store: ObjectStore, job: str) -> JobSpec:
    """The plan as it is now.

    Raises:
        ObjectMissing: there is no such job.
        StoreError: the store is away.
    """
    return planned_by(JobSpec.from_bytes(store.get(layout.job(job))), read_openings(store, job))


class SpecCache:
    """The last few specs. Thread-safe."""

    def __init__(self, store: ObjectStore, *, size: int = 32) -> None:
        self._store, self._size = store, size
        self._frozen: OrderedDict[str, JobSpec] = OrderedDict()
        self._planned: dict[str, JobSpec] = {}
        self._lock = threading.Lock()

    def get(self, job: str, *, unit: int | None = None) -> JobSpec:
        """The job's spec; one that knows ``unit``, if the job was extended that far.

        Raises:
            ObjectMissing: there is no such job.
            StoreError: the store is away.
        """
        with self._lock:
            found = self._planned.get(job)
            if found is not None:
                self._frozen.move_to_end(job)
        if found is not None and (unit is None or unit < found.units):
            return found
        return self.renew(job)

    def renew(self, job: str) -> JobSpec:
        """As :meth:`get`, with the openings as they are in the store now.

        Raises:
            ObjectMissing, StoreError: as :meth:`get`.
        """
        with self._lock:
            frozen = self._frozen.get(job)
        if frozen is None:
            frozen = JobSpec.from_bytes(self._store.get(layout.job(job)))
        planned = planned_by(frozen, read_openings(self._store, job))
        with self._lock:
            self._frozen[job], self._planned[job] = frozen, planned
            self._frozen.move_to_end(job)
            while len(self._frozen) > self._size:
                self._planned.pop(self._frozen.popitem(last=False)[0], None)
        return planned

    def forget(self, job: str) -> None:
        """Drop a job that was deleted."""
        with self._lock:
            self._frozen.pop(job, None)
            self._planned.pop(job, None)
