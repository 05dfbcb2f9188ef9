"""What the OpenAPI document says of this API: what it is for, its groups of routes, what it refuses, examples."""

from __future__ import annotations

from fastapi import FastAPI

from synfarm import openapi as shared
from synfarm.contracts.problems import Problem
from synfarm.openapi import Described, Document, examples_of

__all__ = ["describe", "load_examples"]

_ABOUT = """Jobs turn a list of concepts into captions and images; a training run reads them.

Send the key as `Authorization: Bearer <key>`. Errors are `application/problem+json` (RFC 9457) with a stable `code`,
the `field` at fault and a `hint` that says what to do next. Lists are paged: pass `next_cursor` as `cursor`.
"""
_TAGS = {
    "jobs": "Make, see, pause and cancel jobs.",
    "contents": "What a job has made so far: captions, shards, failures, and events while it runs.",
    "samples": "A few groups of a job to look at, with their images and how they were made.",
    "prompts": "Try prompts before a job is made.",
    "concept sets": "Concepts by name: the sets that ship, and sets of your own, stored once for many jobs.",
    "caption files": "Captions of your own, uploaded in parts; a job names the file in `captions_from`.",
    "operations": "For operators and orchestrators.",
}
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
            "job_not_found",
            None,
            "There is no job '01kas6v0h8m3t1x5c9r7q2w4ez' that you may see.",
            "GET /v1/jobs lists your jobs.",
        ),
        (
            "409",
            "It does not fit what is there already.",
            "job_ended",
            None,
            "Job 01kas6v0h8m3t1x5c9r7q2w4ez has ended (completed).",
            "Make a new job; a job that has ended stays as it is.",
        ),
        (
            "413",
            "The body is too large.",
            "body_too_large",
            None,
            "The body exceeds 16777216 bytes.",
            "Send fewer items at once.",
        ),
        (
            "422",
            "The request itself must change.",
            "invalid_request",
            "captons",
            "captons is not a field.",
            "Did you mean captions or caption?",
        ),
        (
            "500",
            "What is stored is not what was committed.",
            "sample_damaged",
            "caption_id",
            "What is stored of 01kas6v0h8m3t1x5c9r7q2w4ez-0000000032 is not what was committed, so it is not shown.",
            "Other samples are not concerned, and training replaces this one by itself; check the object store.",
        ),
        (
            "429",
            "The key has reached a limit; the header Retry-After says for how long.",
            "too_many_requests",
            None,
            "This key may send 10 requests a second, 20 of them at once.",
            "Wait as long as Retry-After says; GET /v1/jobs/{id}/events tells of progress without polling.",
        ),
        (
            "503",
            "A part of the farm does not answer.",
            "store_away",
            None,
            "The object store does not answer as it should.",
            "Send the request again, with the same Idempotency-Key; GET /readyz tells more.",
        ),
    )
}


def load_examples() -> Document:
    """``<METHOD> <path>`` to examples of its request and, by status, of its responses."""
    return examples_of(__package__ or "")


def describe(app: FastAPI) -> None:
    """Let ``/openapi.json`` say of ``app`` what its routes share: problems, the key, examples."""
    everywhere = frozenset({"401", "429", "503"})
    shared.describe(app, Described(_ABOUT, _TAGS, _PROBLEMS, everywhere, load_examples()))
