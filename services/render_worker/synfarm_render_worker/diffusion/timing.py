"""Seconds by stage: clocks on a CPU, events on a GPU, which nobody waits for until they are asked."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Stopwatch"]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


class Stopwatch:
    """Of one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds what happens inside to the stage, also when it fails."""
        if self._device.type != "cuda":
            began = time.perf_counter()
            try:
                yield
            finally:
                self._seconds[name] += time.perf_counter() - began
            return
        first, last = _event(), _event()
        stream = torch.cuda.current_stream(self._device)
        first.record(stream)
        try:
            yield
        finally:
            last.record(stream)
            self._events.append((name, first, last))

    def settle(self) -> None:
        """Turn past events into seconds; call when the device has done them anyway."""
        for name, first, last in self._events:
            last.synchronize()
            self._seconds[name] += first.elapsed_time(last) / 1000
        self._events.clear()

    def take(self) -> dict[str, float]:
        """Seconds by stage since the last call."""
        self.settle()
        taken, self._seconds = self._seconds, defaultdict(float)
        return dict(taken)
