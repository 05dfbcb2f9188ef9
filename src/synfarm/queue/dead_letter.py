"""Giving a unit up: its failure is written once, and never over a commit."""

from __future__ import annotations

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Failure, FaultClass
from synfarm.contracts.renders import Stage
from synfarm.storage.protocol import ObjectStore

__all__ = ["bury"]


def bury(store: ObjectStore, job: str, unit: int, *, stage: Stage, fault: FaultClass, reason: str, count: int) -> bool:
    """Write the unit's dead letter. True if the unit is dead now; False if it is committed, which outranks it.

    Raises:
        StoreError: the store is away; the unit is not dead.
    """
    if store.head(layout.commit(job, unit)) is not None:
        return False
    failure = Failure(job=job, unit=unit, stage=stage, fault=fault, reason=reason[-2000:], count=count, at=utc_now())
    # A refusal means that another process has given the unit up already.
    store.create(layout.failure(job, unit), failure.to_bytes())
    return True
