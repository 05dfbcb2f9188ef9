"""A user's change of the weights of a run that has begun: checked, then put down for the next start of the run."""

from __future__ import annotations

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.mixing import MixChange, MixRequest
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.runs import RunSpec, RunState
from synfarm.contracts.segments import RunSegment
from synfarm_trainer.api.records import RunRecords
from synfarm_trainer.api.sources import whole
from synfarm_trainer.config import from_dict
from synfarm_trainer.data.mixture import Shares

__all__ = ["change_weights"]


def change_weights(records: RunRecords, spec: RunSpec, request: MixRequest, who: Principal) -> None:
    """Write the change, unless the run has these weights already.

    Raises:
        ProblemError: 422 they are no weights for its jobs; 409 the run has none that could be changed, has not begun
            yet, is complete, or a batch would take more of a job than it has.
    """
    run, store = spec.run, records.store
    if not spec.weights:
        raise ProblemError(
            409,
            "run_without_weights",
            f"Run {run} draws from its jobs as from one dataset.",
            field="weights",
            hint="Submit a new run with weights; model.init_from lets it begin with this one's.",
        )
    weights = whole(request.weights, len(spec.datasets))
    ended = records.ended(run)
    if ended is not None and ended.state is RunState.COMPLETED:
        raise ProblemError(
            409,
            "run_completed",
            f"Run {run} is complete: it draws no more captions.",
            hint="Submit a new run with these weights.",
        )
    keys = records.segment_keys(run)
    if not keys or (now := records.segment(keys[-1])) is None:
        raise ProblemError(
            409,
            "run_not_begun",
            f"Run {run} has not begun: until it does, the weights of its request stand.",
            hint="Ask again once it runs, or stop it and submit it anew.",
        )
    _check_enough(spec, now, weights)
    while True:
        newest = records.newest_mix_change(run)
        if (newest.weights if newest is not None else spec.weights) == weights:
            return
        # Behind the newest, whatever is missing before it: a number that is taken would be tried for ever.
        number = newest.number + 1 if newest is not None else 0
        mine = MixChange(run=run, number=number, weights=weights, by=who.owner, at=utc_now())
        if store.create(layout.mix_change(run, number), mine.to_bytes()):
            return


def _check_enough(spec: RunSpec, now: RunSegment, weights: tuple[int, ...]) -> None:
    """Epochs only grow, so what fits now will fit."""
    most = Shares(weights).most_in(from_dict(spec.config).data.captions_per_batch)
    for stream, taken in zip(now.streams, most, strict=True):
        if stream.groups < taken:
            jobs = ", ".join(now.datasets[place].job for place in stream.datasets)
            raise ProblemError(
                409,
                "too_few_captions",
                f"Job {jobs} has {stream.groups} captions to train on; by its weight one batch takes up to {taken}.",
                field="weights",
                hint="Lower the weight of the job.",
            )
