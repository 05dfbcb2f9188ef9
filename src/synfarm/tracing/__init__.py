"""Traces of jobs, off by default: one trace a job, from its submission over captions and images to each commit.

Here is what everybody calls; it does nothing and imports nothing. :mod:`synfarm.tracing.otel` does it with
OpenTelemetry (extra ``tracing``), where SYNFARM_TRACING asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from synfarm.contracts.renders import UnitTask

__all__ = ["Tracing", "TracingMissing", "UnitSpan", "open_tracing"]


class TracingMissing(RuntimeError):
    """Traces are asked for, and the libraries are not installed."""


class UnitSpan:
    """One message's work on a unit."""

    def ended(self, outcome: str) -> None:
        """Called once, from whatever thread the unit ended in."""


class Tracing:
    """Traces nothing."""

    def job_made(self, job: str, began: float) -> None:
        """A request made the job; it began at ``began``, in seconds of Unix time."""

    def carrier(self, job: str) -> dict[str, str]:
        """Headers for a message about a unit of the job: whatever goes on here is its cause."""
        return {}

    def unit(self, task: UnitTask, carrier: Mapping[str, str]) -> AbstractContextManager[UnitSpan]:
        """Around the handling of a message; its span ends when it is told so, which may be after the block."""
        return _nothing()

    def part(self, name: str) -> AbstractContextManager[object]:
        """Around a part of a unit's work, in its thread or in one that took its context over."""
        return _nothing()

    def close(self, within: float = float("inf")) -> None:
        """Send what has not been sent, for at most ``within`` seconds and never long: the rest is dropped, with a word.

        A worker says what is left of its grace period, so that a collector that hangs costs no kill.
        """


@contextmanager
def _nothing() -> Iterator[UnitSpan]:
    yield UnitSpan()


def open_tracing(mode: Literal["off", "otlp"], process: str) -> Tracing:
    """What ``SYNFARM_TRACING`` asks for, under the name of the process.

    Raises:
        TracingMissing: the message names the cure.
    """
    if mode == "off":
        return Tracing()
    try:
        from synfarm.tracing.otel import OtelTracing, otlp
    except ModuleNotFoundError as error:
        raise TracingMissing(
            f"SYNFARM_TRACING={mode}: {error.name!r} is not installed; pip install 'synfarm[tracing]', or unset it"
        ) from error
    return OtelTracing(process, otlp())
