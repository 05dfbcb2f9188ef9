"""The form of a new run: preset, steps, overrides line by line, and the way from text to a request."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from synfarm.contracts.runs import RunRequest
from synfarm_caption_api.web.form_problems import from_validation, single
from synfarm_caption_api.web.job_form import BadForm

__all__ = ["RUN_PLACES", "default_run", "read_run"]

RUN_PLACES: Mapping[str, str] = {
    "name": "name",
    "preset": "preset",
    "jobs": "jobs",
    "seed": "seed",
    "ranks": "ranks",
    "overrides": "overrides",
    "overrides.schedule.steps": "steps",
}
_MOST_OVERRIDES = 1 << 16
"""Characters; a preset has some dozens of fields."""
_MOST_DIGITS = 18
_WARM_UP = 10
"""A run of other length than its preset's keeps the usual share of warm-up: a tenth."""


def default_run(job: str, name: str) -> dict[str, str]:
    """Every field as text, as a fresh form shows it."""
    return {"jobs": job, "name": name, "preset": "tiny", "steps": "", "seed": "0", "ranks": "1", "overrides": ""}


def read_run(values: Mapping[str, str]) -> RunRequest:
    """The request that the form describes.

    Raises:
        BadForm: with the problem of each field that cannot be read.
    """
    overrides = _overrides(values.get("overrides", ""))
    steps = values.get("steps", "").strip()
    if steps:
        if not steps.isdecimal() or len(steps) > _MOST_DIGITS or int(steps) < 1:
            raise BadForm(single("steps", "must be a whole number, 1 or more; leave it empty for the preset's own"))
        overrides = {"schedule.steps": int(steps), "schedule.warmup_steps": int(steps) // _WARM_UP, **overrides}
    body = {name: values[name].strip() for name in ("name", "preset", "seed", "ranks") if values.get(name, "").strip()}
    try:
        return RunRequest.model_validate({**body, "jobs": values.get("jobs", "").split(), "overrides": overrides})
    except ValidationError as error:
        raise BadForm(from_validation(error, RUN_PLACES)) from error


def _overrides(text: str) -> dict[str, JsonValue]:
    """``optim.lr = 0.001``, one a line; a value that is no JSON is text."""
    found: dict[str, JsonValue] = {}
    if len(text) > _MOST_OVERRIDES:
        raise BadForm(single("overrides", f"more than {_MOST_OVERRIDES:,} characters: a preset has far fewer fields"))
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name or not value:
            raise BadForm(single("overrides", f"line {number}: write name = value, for example optim.lr = 0.001"))
        if name in found:
            raise BadForm(single("overrides", f"line {number}: {name} is set above already"))
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
    return found
