"""The OpenAPI document says of every route what it does, what it may refuse, and how both look."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from synfarm.contracts.problems import Problem
from synfarm_caption_api.api import (
    backgrounds,
    caption_files,
    concept_sets,
    contents,
    jobs,
    prompts,
    reports,
    samples,
    steering,
)
from synfarm_caption_api.api import operations as operations_routes
from synfarm_caption_api.api.describing import load_examples

pytestmark = pytest.mark.integration
Operation = dict[str, Any]


@pytest.fixture
def document(site: Any) -> dict[str, Any]:
    found: dict[str, Any] = site.app.openapi()
    return found


@pytest.fixture
def operations(document: dict[str, Any]) -> dict[str, Operation]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1")
    }


def test_every_route_has_a_summary_and_a_tag_that_are_described(
    document: dict[str, Any], operations: dict[str, Operation]
) -> None:
    assert len(operations) >= 18
    tags = {tag["name"] for tag in document["tags"]}
    summaries = [operation["summary"] for operation in operations.values()]
    assert len(set(summaries)) == len(summaries)
    for name, operation in operations.items():
        # A summary that the framework makes of the function's name begins each word with a capital.
        assert operation["summary"] != operation["summary"].title(), name
        assert operation["description"].strip(), name
        assert set(operation["tags"]) <= tags, name
    assert {tag for operation in operations.values() for tag in operation["tags"]} <= tags


def test_every_route_says_what_it_may_refuse_and_how(operations: dict[str, Operation]) -> None:
    for name, operation in operations.items():
        refused = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        assert {"401", "503"} <= set(refused), name
        assert ("404" in refused) == ("{" in name), name
        assert ("422" in refused) == ("requestBody" in operation or "parameters" in operation), name
        for status, answer in refused.items():
            (content,) = answer["content"].items()
            assert content[0] == "application/problem+json", (name, status)
            assert content[1]["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert Problem.model_validate(content[1]["example"]).status == int(status)
    assert {"409", "413"} <= set(operations["POST /v1/jobs"]["responses"])
    assert "409" in operations["POST /v1/jobs/{job}/cancel"]["responses"]
    assert "500" in operations["GET /v1/jobs/{job}/images/{caption_id}/{k}"]["responses"]


def test_the_key_is_a_security_scheme_and_no_parameter(
    document: dict[str, Any], operations: dict[str, Operation]
) -> None:
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for name, operation in operations.items():
        assert operation["security"] == [{"key": []}], name
        assert "authorization" not in {parameter["name"] for parameter in operation.get("parameters", [])}
    assert "security" not in document["paths"]["/healthz"]["get"]


def test_every_body_has_examples_that_the_models_take(operations: dict[str, Operation]) -> None:
    modules = (
        jobs,
        steering,
        contents,
        reports,
        samples,
        prompts,
        backgrounds,
        concept_sets,
        caption_files,
        operations_routes,
    )
    found = [route for module in modules for route in module.router.routes if isinstance(route, APIRoute)]
    routes = {f"{method} {route.path}": route for route in found for method in route.methods}
    for name, operation in operations.items():
        route = routes[name]
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            examples = operation["requestBody"]["content"]["application/json"]["examples"]
            for example in examples.values():
                assert route.body_field is not None
                TypeAdapter(route.body_field.field_info.annotation).validate_python(example["value"])
                assert example["summary"]
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json")
            if int(status) < 400 and content is not None:
                assert content["examples"], (name, status)
                for example in content["examples"].values():
                    TypeAdapter(route.response_model).validate_json(_json(example["value"]))
    assert set(load_examples()) <= set(operations), "examples of routes that are gone"


@pytest.mark.parametrize("name", ["collage", "diffusers"])
async def test_the_examples_of_a_job_can_be_sent(site: Any, name: str) -> None:
    body = load_examples()["POST /v1/jobs"]["request"][name]["value"]
    async with site.client() as client:
        answer = await client.post("/v1/jobs?dry_run=true", json=body)
    assert answer.status_code == 200, answer.text


def test_every_reference_is_resolved(document: dict[str, Any]) -> None:
    text = _json(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"], name
    assert "HTTPValidationError" not in text


def _json(value: object) -> str:
    return TypeAdapter(object).dump_json(value).decode()
