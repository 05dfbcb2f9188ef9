"""Whose runs a caller may see."""

from __future__ import annotations

from synfarm.auth import Principal
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.runs import RunSpec
from synfarm_trainer.api.records import RunRecords

__all__ = ["seen_run"]


def seen_run(records: RunRecords, run: str, who: Principal) -> RunSpec:
    """The run's spec.

    Raises:
        ProblemError: 404 there is none, or it is another owner's, which looks the same.
        StoreUnavailable: the store is away.
    """
    spec = records.spec(run)
    if spec is None or not who.may_see(spec.owner):
        hint = "GET /v1/runs lists yours."
        raise ProblemError(404, "run_not_found", f"There is no run {run}.", field="run", hint=hint)
    return spec
