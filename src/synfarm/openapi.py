"""The OpenAPI document of a service: what every route has in common is added once, and each route has its examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Described", "Document", "describe", "examples_of"]

Document = dict[str, Any]
_SCHEMA = {"$ref": "#/components/schemas/Problem"}


@dataclass(frozen=True, slots=True)
class Described:
    """What one service says of itself."""

    about: str
    tags: Mapping[str, str]
    """What each group of routes is for."""
    problems: Mapping[str, tuple[str, Problem]]
    """By status, what it means and an example: of each status that a route may refuse with."""
    everywhere: frozenset[str]
    """Statuses that every route may refuse with."""
    examples: Document
    """``<METHOD> <path>`` to examples of its request and, by status, of its responses."""


def examples_of(package: str) -> Document:
    """``examples.json`` beside a package's modules."""
    found: Document = json.loads(files(package).joinpath("examples.json").read_text(encoding="utf-8"))
    return found


def describe(app: FastAPI, described: Described) -> None:
    """Let ``/openapi.json`` say of ``app`` what its routes share: problems, the key, examples."""

    def document() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, described)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI, described: Described) -> Document:
    from fastapi.openapi.utils import get_openapi  # so that the shared package imports without FastAPI

    tags = [{"name": name, "description": text} for name, text in described.tags.items()]
    made: Document = get_openapi(
        title=app.title, version=app.version, description=described.about, routes=app.routes, tags=tags
    )
    schemas = made["components"]["schemas"]
    for theirs in ("HTTPValidationError", "ValidationError"):
        schemas.pop(theirs, None)
    schemas["Problem"] = Problem.model_json_schema()
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1"):
                _add_key(operation)
                _add_problems(path, operation, described)
            _add_examples(operation, described.examples.get(f"{method.upper()} {path}", {}))
    return made


def _add_key(operation: Document) -> None:
    """The key as a security scheme: OpenAPI ignores a header parameter of that name."""
    operation["security"] = [{"key": []}]
    parameters = [p for p in operation.get("parameters", []) if p["name"] != "authorization"]
    operation["parameters"] = parameters
    if not parameters:
        del operation["parameters"]


def _add_problems(path: str, operation: Document, described: Described) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # the framework's own form, which is not what this API answers
    has_body = "requestBody" in operation
    expected = {status for status in responses if int(status) >= 400} | described.everywhere
    expected |= {"404"} if "{" in path else set()
    expected |= {"413"} if has_body else set()
    expected |= {"422"} if has_body or "parameters" in operation else set()
    for status in sorted(expected):
        meaning, example = described.problems[status]
        content = {"schema": _SCHEMA, "example": example.model_dump(mode="json", exclude_none=True)}
        responses[status] = {"description": meaning, "content": {PROBLEM_MEDIA_TYPE: content}}


def _add_examples(operation: Document, examples: Document) -> None:
    if "request" in examples:
        operation["requestBody"]["content"]["application/json"]["examples"] = examples["request"]
    for status, named in examples.get("responses", {}).items():
        content = operation["responses"][status].setdefault("content", {}).setdefault("application/json", {})
        content["examples"] = named
