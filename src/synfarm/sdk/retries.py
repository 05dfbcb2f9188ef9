"""When a failed request is sent again, decided in one place for both clients."""

from __future__ import annotations

import httpx

__all__ = ["may_repeat", "seconds_asked"]

_PASSING = frozenset({429, 502, 503, 504})


def may_repeat(status: int) -> bool:
    """Answers that another try may turn into a better one."""
    return status in _PASSING


def seconds_asked(response: httpx.Response) -> float | None:
    """``Retry-After`` in seconds, at most a minute; its date form is not used by our servers."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), 60.0) if value.isdigit() else None
