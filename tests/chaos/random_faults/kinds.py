"""Every kind of fault that may fall."""

from __future__ import annotations

from tests.chaos.random_faults.process_faults import PROCESS_FAULTS
from tests.chaos.random_faults.redis_faults import REDIS_FAULTS
from tests.chaos.random_faults.store_faults import STORE_FAULTS
from tests.chaos.random_faults.storm import RandomFault

__all__ = ["KINDS"]

KINDS: tuple[RandomFault, ...] = (*PROCESS_FAULTS, *REDIS_FAULTS, *STORE_FAULTS)
