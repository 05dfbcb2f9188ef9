"""How a process opens its store: connect, prove, or say in one line why it cannot start."""

from __future__ import annotations

from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import MinioStore, open_store
from synfarm.storage.probe import require_proven
from synfarm.storage.protocol import StoreError, StoreUnavailable
from synfarm.telemetry import get_logger

__all__ = ["REFUSED", "TRY_AGAIN", "open_proven", "tell_unusable"]

_log = get_logger(__name__)

TRY_AGAIN = 75
"""Exit code EX_TEMPFAIL: the supervisor's restart is the retry."""
REFUSED = 2
"""Exit code: no restart helps before somebody corrects the settings."""


def open_proven(settings: StoreSettings) -> MinioStore:
    """The store, after the start-up probe; what an allowed store lacks is logged as a warning.

    Raises:
        StoreUnavailable: no answer after all retries.
        StoreRefused: wrong credentials, impossible settings, or a store that fails the probe.
    """
    store = open_store(settings)
    if lacking := require_proven(store, allow_unproven=settings.allow_unproven):
        _log.warning("store_unproven", lacking=lacking)
    return store


def tell_unusable(error: StoreError) -> int:
    """Log one line about a store that a process cannot start with; the exit code."""
    if isinstance(error, StoreUnavailable):
        hint = "start the object store, or correct SYNFARM_STORE_ENDPOINT"
        _log.error("store_away", error=str(error), next_step=hint)
        return TRY_AGAIN
    _log.error("store_refused", error=str(error), next_step="correct SYNFARM_STORE_*, or the store, and start again")
    return REFUSED
