"""Numbers and times as the page writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from synfarm.contracts.base import utc_now
from synfarm.contracts.views import Range
from synfarm_caption_api.web import formats


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("count", 12345, "12,345"),
        ("count", None, "–"),
        ("compact", 999, "999"),
        ("compact", 12_345, "12.3k"),
        ("compact", 150_000_000, "150M"),
        ("fixed", 4.12345, "4.123"),
        ("fixed", 0.0871, "0.0871"),
        ("fixed", 0, "0.0000"),
        ("fixed", 0.0000123, "1.23e-05"),
        ("percent", 0.823, "82 %"),
        ("byte_size", 0, "0 B"),
        ("byte_size", 10_500_000, "10.5 MB"),
        ("byte_size", 2.5e15, "2500.0 TB"),
        ("duration", 12, "12 s"),
        ("duration", 59.7, "1 min 00 s"),
        ("duration", 200, "3 min 20 s"),
        ("duration", 3840, "1 h 04 min"),
        ("duration", 183_600, "2 d 3 h"),
        ("short_id", "01k" + "0" * 17 + "abcdef", "…abcdef"),
        ("words", "completed_with_errors", "completed with errors"),
    ],
)
def test_format(function: str, value: object, text: str) -> None:
    assert getattr(formats, function)(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "just now"), (45, "45 s ago"), (400, "6 min ago"), (90_000, "1 d ago")]
)
def test_ago(seconds: int, text: str) -> None:
    now = utc_now()
    assert formats.ago(now - timedelta(seconds=seconds), now) == text


@pytest.mark.parametrize(
    ("low", "high", "hours", "times"),
    [
        (0.0312, 0.281, "2 min to 17 min", "0 s"),
        (0.41, 1.25, "0.41 to 1.2 h", "0 s to 1 s"),
        (40, 80, "40 to 80 h", "40 s to 80 s"),
        (1234, 5678, "1,200 to 5,700 h", "21 min to 2 h"),
        (86400, 8640000, "86,000 to 8,600,000 h", "24 h to 100 d"),
        (700, 700, "700 h", "12 min"),
    ],
)
def test_what_is_known_roughly_is_told_roughly(low: float, high: float, hours: str, times: str) -> None:
    span = Range(low=low, high=high)
    assert (formats.working(span), formats.lasting(span)) == (hours, times)
    assert (formats.working(None), formats.lasting(None)) == ("–", "–")
