"""A configuration that cannot be, as the problem that the API answers with."""

from __future__ import annotations

from synfarm.contracts.problems import ProblemError

__all__ = ["config_refused"]


def config_refused(error: ValueError) -> ProblemError:
    """422; the error's message begins with the name of the preset's field, or with ``preset``."""
    name = str(error).partition(":")[0]
    field = "preset" if name == "preset" else f"overrides.{name}"
    hint = f"Correct '{field}' and send the request again."
    return ProblemError(422, "config_invalid", str(error), field=field, hint=hint)
