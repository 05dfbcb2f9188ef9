"""When a failed request is sent again, decided in one place for both clients."""

from __future__ import annotations

import httpx

__all__ = ["is_repeated", "may_have_worked", "may_repeat", "seconds_asked"]

_PASSING = frozenset({429, 502, 503, 504})
_TIMED_OUT = 504
"""Of a proxy: the server behind it may still be at work."""
_OF_A_PROXY = frozenset({502, 504})
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def may_repeat(status: int, *, costly: bool = False) -> bool:
    """Answers that another try may turn into a better one.

    Args:
        costly: each sending makes the server compute anew, so none goes after one that may still be at work.
    """
    return status in _PASSING and not (costly and status == _TIMED_OUT)


def is_repeated(error: httpx.TransportError, *, costly: bool) -> bool:
    """Whether a request that got no answer is sent again.

    Not a costly one that was sent and waited for in vain: the server may be at it still, and would then do it twice.
    """
    return not (costly and isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout))


def seconds_asked(response: httpx.Response) -> float | None:
    """``Retry-After`` in seconds, at most a minute; its date form is not used by our servers."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), 60.0) if value.isdigit() else None


def may_have_worked(outcome: httpx.Response | httpx.TransportError) -> bool:
    """Whether a try that failed may have done what it asks, and only its answer was lost."""
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in _OF_A_PROXY
    return not isinstance(outcome, _UNSENT)
