"""The OpenAPI document: what every route has in common is added once, and each route has its examples."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, Problem

__all__ = ["describe", "load_examples"]

Document = dict[str, Any]

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
_SCHEMA = {"$ref": "#/components/schemas/Problem"}
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
    found: Document = json.loads(files(__package__).joinpath("examples.json").read_text(encoding="utf-8"))
    return found


def describe(app: FastAPI) -> None:
    """Let ``/openapi.json`` say of ``app`` what its routes share: problems, the key, examples."""

    def document() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> Document:
    tags = [{"name": name, "description": text} for name, text in _TAGS.items()]
    made: Document = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes, tags=tags)
    schemas = made["components"]["schemas"]
    for theirs in ("HTTPValidationError", "ValidationError"):
        schemas.pop(theirs, None)
    schemas["Problem"] = Problem.model_json_schema()
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    examples = load_examples()
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1"):
                _add_key(operation)
                _add_problems(path, operation)
            _add_examples(operation, examples.get(f"{method.upper()} {path}", {}))
    return made


def _add_key(operation: Document) -> None:
    """The key as a security scheme: OpenAPI ignores a header parameter of that name."""
    operation["security"] = [{"key": []}]
    parameters = [p for p in operation.get("parameters", []) if p["name"] != "authorization"]
    operation["parameters"] = parameters
    if not parameters:
        del operation["parameters"]


def _add_problems(path: str, operation: Document) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # the framework's own form, which is not what this API answers
    has_body = "requestBody" in operation
    expected = {status for status in responses if int(status) >= 400} | {"401", "429", "503"}
    expected |= {"404"} if "{" in path else set()
    expected |= {"413"} if has_body else set()
    expected |= {"422"} if has_body or "parameters" in operation else set()
    for status in sorted(expected):
        meaning, example = _PROBLEMS[status]
        content = {"schema": _SCHEMA, "example": example.model_dump(mode="json", exclude_none=True)}
        responses[status] = {"description": meaning, "content": {PROBLEM_MEDIA_TYPE: content}}


def _add_examples(operation: Document, examples: Document) -> None:
    if "request" in examples:
        operation["requestBody"]["content"]["application/json"]["examples"] = examples["request"]
    for status, named in examples.get("responses", {}).items():
        content = operation["responses"][status].setdefault("content", {}).setdefault("application/json", {})
        content["examples"] = named
