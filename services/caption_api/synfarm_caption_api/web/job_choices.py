"""What can be done with a job as it stands, and what the faults of its dead units mean: pure functions and words."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.views import JobView
from synfarm_caption_api.feeder.view import BEING_DELETED

__all__ = ["FAULTS", "choices"]

FAULTS: Mapping[str, str] = {
    "unit": "the unit itself failed each time",
    "lost_worker": "worker after worker was lost over it",
    "environment": "something around it was away",
}
"""By class of fault."""


def choices(spec: JobSpec, view: JobView) -> frozenset[str]:
    """Names of what the API would not refuse for the state of the job; what pins it is known to the API alone."""
    if view.state is JobState.CANCELLING:
        return frozenset() if view.reason == BEING_DELETED else frozenset({"delete"})
    if not view.state.is_final:
        return frozenset({"resume" if view.state is JobState.PAUSED else "pause", "cancel", "delete"})
    found = {"delete"}
    if view.state is not JobState.CANCELLED:
        if view.counts.units_dead:
            found.add("retry")
        if spec.captions_from is None and spec.source is None:
            found.add("extend")
    return frozenset(found)
