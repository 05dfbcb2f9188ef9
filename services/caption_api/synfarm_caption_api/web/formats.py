"""Numbers and times as the page writes them: pure functions, the same on every page."""

from __future__ import annotations

from datetime import datetime

from synfarm.contracts.views import Range

__all__ = [
    "ago",
    "byte_size",
    "compact",
    "count",
    "duration",
    "fixed",
    "lasting",
    "percent",
    "short_id",
    "words",
    "working",
]

_NONE = "–"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def count(value: float | None) -> str:
    """A whole number with its thousands apart: ``12,345``."""
    return _NONE if value is None else f"{round(value):,}"


def compact(value: float | None) -> str:
    """At most four characters and a unit, for tight places: ``950``, ``12.3k``, ``150M``."""
    if value is None:
        return _NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (1e3 if unit == "k" else size)
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"
    return f"{round(value):,}"


def fixed(value: float | None, digits: int = 3) -> str:
    """A plain number with as many significant digits as say something: ``4.124``, ``0.0871``, ``1.2e-05``."""
    if value is None:
        return _NONE
    if value and abs(value) < 1e-3:
        return f"{value:.2e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits + 1}f}" if abs(value) < 1 else f"{value:.{digits}f}"


def percent(share: float | None, digits: int = 0) -> str:
    """``0.823`` as ``82 %``."""
    return _NONE if share is None else f"{100 * share:.{digits}f} %"


def byte_size(size: float | None) -> str:
    """``10.5 MB``, in powers of ten as disks and bills count."""
    if size is None:
        return _NONE
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit takes everything")


def duration(seconds: float | None) -> str:
    """The two largest units: ``12 s``, ``3 min 20 s``, ``1 h 04 min``, ``2 d 3 h``."""
    if seconds is None:
        return _NONE
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def lasting(span: Range | None) -> str:
    """Between which two times: ``40 s to 6 min``, in whole minutes, hours or days where they are long."""
    if span is None:
        return _NONE
    low, high = _roughly(span.low), _roughly(span.high)
    return low if low == high else f"{low} to {high}"


def working(hours: Range | None) -> str:
    """Hours of work, as bills count them: ``1,200 to 5,700 h``; what is done within one as a time."""
    if hours is None:
        return _NONE
    if hours.high < 1:
        return lasting(Range(low=hours.low * _HOUR, high=hours.high * _HOUR))
    low, high = (f"{value:.2g}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}" for value in (hours.low, hours.high))
    return f"{low} h" if low == high else f"{low} to {high} h"


def _roughly(seconds: float) -> str:
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 1.5 * size:
            return f"{round(seconds / size):,} {unit}"
    return f"{round(seconds)} s"


def ago(moment: datetime, now: datetime) -> str:
    """How long before ``now``, coarsely: ``just now``, ``5 min ago``, ``3 d ago``."""
    seconds = (now - moment).total_seconds()
    if seconds < 10:
        return "just now"
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def short_id(value: str) -> str:
    """The end of a ULID, where two ids of the same hour differ."""
    return f"…{value[-6:]}" if len(value) > 10 else value


def words(name: str) -> str:
    """A machine's name in words: ``completed_with_errors`` as ``completed with errors``."""
    return name.replace("_", " ")
