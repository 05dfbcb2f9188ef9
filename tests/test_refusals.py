"""How a refused body reads: the field, what is wrong with it, what to do next, in few words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.problems import Problem
from synfarm.contracts.tries import TryRequest
from synfarm.refusals import refusal


def refuse(model: type[BaseModel], body: object) -> Problem:
    """As the framework does: the same faults, below ``body``."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in caught.value.errors()]
    return refusal(faults, model)


WELL: dict[str, Any] = {"concepts": ["dog"], "captions": 64}


@pytest.mark.parametrize(
    ("change", "field", "detail"),
    [
        ({"captions": 0}, "captions", "captions must be at least 1, not 0."),
        ({"captions": 3_000_000_000}, "captions", "captions must be at most 2000000000, not 3000000000."),
        ({"captions": "many"}, "captions", "captions must be a whole number, not 'many'."),
        ({"captions": 1.5}, "captions", "captions must be a whole number, not 1.5."),
        ({"error_budget": 5}, "error_budget", "error_budget must be at most 1, not 5."),
        ({"caption": {"temperature": 0}}, "caption.temperature", "caption.temperature must be more than 0, not 0."),
        ({"concepts": []}, "concepts", "concepts must not be empty."),
        ({"concepts": "dog"}, "concepts", "concepts must be a list."),
        ({"concepts": ["dog", "Dog"]}, "concepts", "concepts: 'Dog' occurs twice; leave one out."),
        ({"concepts": ["d" * 81]}, "concepts.0.name", "concepts.0.name must have at most 80 characters."),
        ({"concepts": [""]}, "concepts.0.name", "concepts.0.name must not be empty."),
        ({"concepts": ["a\nb"]}, "concepts.0.name", "concepts.0.name must not hold control characters or line breaks."),
        (
            {"name": "a/b"},
            "name",
            "name must be up to 80 letters, digits, spaces or . _ - and begin with a letter or digit, not 'a/b'.",
        ),
        ({"lane": "urgent"}, "lane", "lane must be 'high', 'normal' or 'low', not 'urgent'."),
        (
            {"render": {"image_format": "png"}},
            "render.image_format",
            "render.image_format must be 'jpg' or 'webp', not 'png'.",
        ),
        (
            {"captions": 0, "seed": -1},
            "captions",
            "captions must be at least 1, not 0; seed must be at least 0, not -1.",
        ),
    ],
)
def test_one_sentence_names_the_field_and_the_fault(change: dict[str, Any], field: str, detail: str) -> None:
    problem = refuse(JobRequest, {**WELL, **change})
    assert (problem.status, problem.code, problem.field, problem.detail) == (422, "invalid_request", field, detail)
    assert field in (problem.hint or "")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"captons": 5}, "Did you mean captions or caption or captions_from?"),
        ({"render": {"sise": 64}}, "Did you mean size?"),
        ({"concepts": [{"nam": "dog"}]}, "Did you mean name?"),
        ({"concepts": ["dog", {"name": "cat", "zzz": 1}]}, "The fields are: kind, name, synonyms."),
    ],
)
def test_a_field_that_does_not_exist_gets_near_names(change: dict[str, Any], hint: str) -> None:
    problem = refuse(JobRequest, {**WELL, **change})
    assert problem.hint == hint
    assert "is not a field" in problem.detail


def test_a_missing_field() -> None:
    assert refuse(JobRequest, {}).detail == "captions is missing."


def test_many_faults_are_told_in_part() -> None:
    body = {"concepts": [1, 2, 3, 4, 5, 6, 7], "captions": 1}
    assert refuse(JobRequest, body).detail.endswith("; and 2 more.")


def test_a_fault_of_the_whole_body_speaks_for_itself() -> None:
    problem = refuse(TryRequest, {"concepts": [f"thing {i}" for i in range(16)], "n": 5})
    assert (
        problem.detail == "At most 64 captions at once, not 16 concepts with 5 captions each: lower n, or make a job."
    )
    assert (problem.field, problem.hint) == (
        "body",
        "Correct the body and send the request again; /openapi.json describes every field.",
    )


def test_a_long_value_is_cut_short() -> None:
    assert len(refuse(JobRequest, {**WELL, "lane": "x" * 5000}).detail) < 150


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (
            {
                "type": "json_invalid",
                "loc": ("body", 22),
                "msg": "JSON decode error",
                "ctx": {"error": "Expecting value"},
            },
            "The body is not JSON: Expecting value (at character 22).",
        ),
        ({"type": "missing", "loc": ("body",), "msg": "Field required"}, "There is no body."),
        ({"type": "model_attributes_type", "loc": ("body",), "msg": "…"}, "The body is not a JSON object."),
    ],
)
def test_a_body_that_is_none(fault: dict[str, Any], detail: str) -> None:
    problem = refusal([fault])
    assert (problem.field, problem.detail) == ("body", detail)


def test_parameters_of_the_address() -> None:
    fault = {
        "type": "less_than_equal",
        "loc": ("query", "limit"),
        "msg": "Input should be less than or equal to 200",
        "input": "1000",
        "ctx": {"le": 200},
    }
    problem = refusal([fault])
    assert (problem.field, problem.detail) == ("limit", "limit must be at most 200, not 1000.")
