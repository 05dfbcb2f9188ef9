"""What the OpenAPI document says of this API: what it is for, its groups of routes, what it refuses, examples."""

from __future__ import annotations

from fastapi import FastAPI

from synfarm import openapi as shared
from synfarm.contracts.problems import Problem
from synfarm.openapi import Described, Document, examples_of

__all__ = ["describe", "load_examples"]

_ABOUT = """A run trains a network on the images of finished jobs. After a crash it goes on from its last checkpoint.

Send the key as `Authorization: Bearer <key>`. Errors are `application/problem+json` (RFC 9457) with a stable `code`,
the `field` at fault and a `hint` that says what to do next. Everything about a run is answered from the object store,
also when its machine is gone: `as_of` says when it was so.
"""
_TAGS = {
    "runs": "Start, see, follow, stop and resume runs; what they leave.",
    "presets": "What a run can begin with, and what one of them comes to.",
    "operations": "For operators and orchestrators.",
}
_RUN = "01kb2m5q8w7r4t0y6z3x1c9v2n"
_PROBLEMS: dict[str, tuple[str, Problem]] = {
    status: (
        meaning,
        Problem(title=code.replace("_", " "), status=int(status), detail=detail, code=code, field=field, hint=hint),
    )
    for status, meaning, code, field, detail, hint in (
        (
            "401",
            "The key is missing or unknown.",
            "key_missing",
            "Authorization",
            "This server needs a key.",
            "Send the header 'Authorization: Bearer <key>'.",
        ),
        (
            "404",
            "There is no such thing, or not one that this key may see.",
            "run_not_found",
            "run",
            f"There is no run {_RUN}.",
            "GET /v1/runs lists yours.",
        ),
        (
            "409",
            "It does not fit what is there already.",
            "run_completed",
            None,
            f"Run {_RUN} is complete: there is nothing to resume.",
            "Submit a new run; override schedule.steps to train longer.",
        ),
        (
            "413",
            "The body is too large.",
            "body_too_large",
            None,
            "The body exceeds 1048576 bytes.",
            "Send fewer items at once.",
        ),
        (
            "416",
            "The range begins behind the end of the file.",
            "no_such_range",
            "Range",
            "The file has 8192 bytes.",
            "Ask for a range that begins before its end.",
        ),
        (
            "422",
            "The request itself must change.",
            "config_invalid",
            "overrides.optim.lrr",
            "optim.lrr: no such field; did you mean optim.lr",
            "GET /v1/presets/{name} lists every field.",
        ),
        (
            "503",
            "The object store does not answer.",
            "store_unavailable",
            None,
            "The object store does not answer.",
            "The object store does not answer; send the request again in some seconds.",
        ),
    )
}


def load_examples() -> Document:
    """``<METHOD> <path>`` to examples of its request and, by status, of its responses."""
    return examples_of(__package__ or "")


def describe(app: FastAPI) -> None:
    """Let ``/openapi.json`` say of ``app`` what its routes share: problems, the key, examples."""
    everywhere = frozenset({"401", "503"})
    shared.describe(app, Described(_ABOUT, _TAGS, _PROBLEMS, everywhere, load_examples()))
