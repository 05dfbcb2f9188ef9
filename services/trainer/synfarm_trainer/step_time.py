"""What a step's time is spent on, by the host's clock."""

from __future__ import annotations

import time

__all__ = ["Laps"]


class Laps:
    """Seconds by part: ``data`` (waiting for the batch), ``between`` (records and checkpoints since the step
    before; evaluations are no part of a step), then as they are named.

    On a GPU the host waits for its kernels where it needs a number: in ``gradients`` of one rank, in ``exchange`` of
    several.
    """

    def __init__(self, since: float, waited: float) -> None:
        """
        Args:
            since: by ``time.perf_counter``, the end of the step before.
            waited: of the time since then, for the batch.
        """
        self._at = time.perf_counter()
        self.seconds = {"data": waited, "between": max(0.0, self._at - since - waited)}

    def end(self, part: str) -> None:
        """``part`` ends here; it began where the last one ended."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._at
        self._at = now
