"""Telling damage on the way from damage at rest, for what is read once and proven: end records, parts, columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from synfarm.storage.manifest_reader import ManifestDamaged
from synfarm.telemetry import get_logger

__all__ = ["surely"]

T = TypeVar("T")
_PROOF = 3
_log = get_logger(__name__)


def surely(read: Callable[[], T]) -> T:
    """What ``read`` gives, proven by it; made again before it is believed that what it reads is damaged.

    Raises:
        ManifestDamaged: so it was each of ``_PROOF`` times.
    """
    for _ in range(_PROOF - 1):
        try:
            return read()
        except ManifestDamaged as error:
            _log.warning("manifest_read_again", key=error.key, what=error.what)
    return read()
