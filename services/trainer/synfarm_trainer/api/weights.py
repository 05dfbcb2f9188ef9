"""The weights that a run asks to begin with: there, and the caller's to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.problems import ProblemError
from synfarm_trainer.api.records import RunRecords
from synfarm_trainer.config import OfRun, OfStore, parse_initial

__all__ = ["check_weights"]

_WIDTH = "overrides.model.width"

_FIELD = "overrides.model.init_from"


def check_weights(records: RunRecords, model: Mapping[str, Any], who: Principal) -> None:
    """What timm has is found out by the run itself: the service loads no models.

    Args:
        model: that section of the resolved configuration.

    Raises:
        ProblemError: 404 there are none, or they are another owner's, which looks the same; 409 they are not yet
            there, or of another width.
    """
    initial = parse_initial(model["init_from"])
    if not isinstance(initial, OfRun | OfStore):
        return
    if (run := initial.run) is not None:
        spec = records.spec(run)
        if spec is None or not who.may_see(spec.owner):
            hint = "GET /v1/runs lists yours."
            raise ProblemError(404, "run_not_found", f"There is no run {run}.", field=_FIELD, hint=hint)
        _check_width(run, spec.config, model)
    if isinstance(initial, OfStore):
        if records.store.head(initial.key) is None:
            hint = "Put the file there, or name another."
            raise ProblemError(404, "weights_not_found", f"The store has no {initial.key}.", field=_FIELD, hint=hint)
        return
    steps = sorted({step for step, _ in records.checkpoint_keys(initial.run)})
    if initial.step is None:
        there = records.store.head(layout.export_file(initial.run, "backbone.safetensors")) is not None
        fault, code = f"Run {initial.run} has exported no network: it is not complete.", "run_not_completed"
    else:
        there = initial.step in steps
        fault, code = f"Run {initial.run} has no checkpoint of step {initial.step}.", "checkpoint_not_found"
    if not there:
        known = f"It has checkpoints of steps {', '.join(map(str, steps))}: run:{initial.run}@<step>."
        raise ProblemError(409, code, fault, field=_FIELD, hint=known if steps else "Wait until it is complete.")


def _check_width(run: str, of: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """No weight of a block fits a network of another width. What timm's models have, timm knows."""
    theirs = of.get("model", {})
    if theirs.get("timm") or model.get("timm") or theirs.get("width") == model["width"]:
        return
    raise ProblemError(
        409,
        "weights_do_not_fit",
        f"The network of run {run} has a width of {theirs.get('width')}, this one of {model['width']}.",
        field=_WIDTH,
        hint=f"Override model.width with {theirs.get('width')}, or begin with other weights.",
    )
