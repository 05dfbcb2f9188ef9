"""How the report writes numbers with their units, so that the same quantity looks the same everywhere."""

from __future__ import annotations

import math
from datetime import datetime

__all__ = ["clip", "count", "duration", "moment", "percent", "points", "shortened", "size", "times"]

_NARROW = "\u202f"  # no-break thin space: thousands and units stay on their line
_MINUS = "−"


def count(value: int) -> str:
    """``2 112``, with a thin space that does not break."""
    return f"{value:,}".replace(",", _NARROW)


def times(value: int, one: str, many: str | None = None) -> str:
    """``1 caption``, ``2 captions``."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def size(value: int) -> str:
    """Bytes in decimal units, as storage is sold."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            return f"{amount:.0f}{_NARROW}{unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f}{_NARROW}{unit}"
        amount /= 1000
    raise AssertionError("the last unit has no upper end")


def duration(seconds: float) -> str:
    """``8.2 s``, ``4 min 08 s``, ``3 h 12 min``; ``—`` for what is no number."""
    if not math.isfinite(seconds):
        return "—"
    if seconds < 59.95:
        return f"{seconds:.1f}{_NARROW}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{_NARROW}min {whole % 60:02d}{_NARROW}s"
    return f"{whole // 3600}{_NARROW}h {whole % 3600 // 60:02d}{_NARROW}min"


def percent(share: float, digits: int = 1) -> str:
    """A share in 0 to 1 as ``15.4 %``."""
    return f"{100 * share:.{digits}f}{_NARROW}%" if math.isfinite(share) else "—"


def points(share: float) -> str:
    """A difference of shares as ``+8.9 points``; the sign is always written."""
    sign = "+" if share >= 0 else _MINUS
    return f"{sign}{abs(100 * share):.1f} points"


def moment(value: datetime) -> str:
    """``2026-11-23 22:56 UTC``."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


def clip(text: str, length: int) -> str:
    """The text, or its beginning with an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def shortened(value: object, length: int) -> object:
    """A JSON value whose lists hold at most ``length`` items, with a line that says how many more there are."""
    if isinstance(value, dict):
        return {name: shortened(item, length) for name, item in value.items()}
    if isinstance(value, list | tuple):
        items = [shortened(item, length) for item in value[:length]]
        return items if len(value) <= length else [*items, f"… and {len(value) - length} more"]
    return value
