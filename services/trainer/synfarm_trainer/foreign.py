"""What somebody else has put among our objects: told by its key, and passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from synfarm.storage.protocol import ObjectInfo
from synfarm.telemetry import get_logger

__all__ = ["ours"]

T = TypeVar("T")
_log = get_logger(__name__)


def ours(
    listed: Iterable[ObjectInfo], parse: Callable[[str], T], told: set[str] | None = None
) -> Iterator[tuple[ObjectInfo, T]]:
    """The objects whose keys can be parsed, with what their keys say.

    Args:
        parse: raises ValueError for a key that is none of ours.
        told: keys that the log has already named; others are added.
    """
    known = told if told is not None else set()
    for info in listed:
        try:
            found = parse(info.key)
        except ValueError as error:
            if info.key not in known:
                known.add(info.key)
                _log.warning("foreign_object", key=info.key, why=str(error)[:200], hint="it is passed over")
            continue
        yield info, found
