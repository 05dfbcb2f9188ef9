"""How many units are in flight, and how many workers they keep at work: the feeder's window (``FeederSettings``)."""

from __future__ import annotations

__all__ = [
    "CAPTION_SLOTS",
    "FINISH_SECONDS",
    "PASS_SECONDS",
    "PER_SLOT",
    "READERS",
    "READS",
    "SPAN",
    "WINDOW_MAX",
    "WINDOW_MIN",
    "units_in_flight",
    "units_wanted",
]

PER_SLOT, WINDOW_MIN, WINDOW_MAX, SPAN = 4, 4, 2048, 8192
PASS_SECONDS, READS, READERS = 0.5, 512, 8
CAPTION_SLOTS = 8
"""Units that one caption worker has in work; planned is one for each GPU of the language model."""


FINISH_SECONDS = 2.0
"""Of a unit on a worker, beside the next one: encoding of the last batch, upload, commit. Our assumption."""


def units_in_flight(render_workers: int, caption_workers: int) -> int:
    """From the sending to the commit."""
    slots = render_workers + CAPTION_SLOTS * caption_workers
    return min(WINDOW_MAX, max(WINDOW_MIN, PER_SLOT * slots))


def units_wanted(render_workers: int, unit_seconds: float, caption_seconds: float) -> float:
    """In flight, so that no worker waits: one on each, and those that are captioned, finished and counted meanwhile."""
    beside = caption_seconds + FINISH_SECONDS + PASS_SECONDS
    return render_workers * (1 + beside / unit_seconds)
