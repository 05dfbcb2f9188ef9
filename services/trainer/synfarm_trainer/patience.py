"""Waiting for a store that is away: an environment fault ends no run."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from synfarm.storage.protocol import StoreUnavailable
from synfarm.telemetry import get_logger

__all__ = ["patiently"]

P = ParamSpec("P")
T = TypeVar("T")
_log = get_logger(__name__)


def patiently(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a call on the store, made again after up to 30 s for as long as the store is unavailable."""
    retrying = Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=wait_random_exponential(multiplier=0.5, max=30),
        after=lambda state: _log.warning("store_waits", attempt=state.attempt_number),
    )
    return retrying(call, *args, **kwargs)
