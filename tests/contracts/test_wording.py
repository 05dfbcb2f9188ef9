"""What is told of a value is a sentence: no pattern and no name of a type."""

from __future__ import annotations

import json
from typing import Annotated

import pytest
from pydantic import StringConstraints, TypeAdapter, ValidationError

from synfarm.contracts.base import Contract
from synfarm.contracts.caption_files import GivenCaption
from synfarm.contracts.concept_sets import ConceptSetRequest
from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.runs import RunRequest
from synfarm.contracts.tries import TryRequest
from synfarm.contracts.wording import _MADE_OF, in_words


def _told(kind: object, value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return in_words(caught.value)


def test_lengths_and_strange_patterns() -> None:
    short = Annotated[str, StringConstraints(min_length=2, max_length=3)]
    assert _told(short, "a") == "must have at least 2 characters"
    assert _told(short, "abcd") == "must have at most 3 characters, not 4"
    assert _told(Annotated[str, StringConstraints(min_length=1)], "") == "must not be empty"
    assert _told(Annotated[str, StringConstraints(pattern="^q$")], "z") == "holds characters that it may not"
    assert _told(int, "z").startswith("must be a valid integer")


@pytest.mark.parametrize("request_type", [JobRequest, TryRequest, RunRequest, ConceptSetRequest, GivenCaption])
def test_every_pattern_that_a_user_may_meet_has_words(request_type: type[Contract]) -> None:
    found: set[str] = set()

    def look(part: object) -> None:
        if isinstance(part, dict):
            found.update(value for key, value in part.items() if key == "pattern" and isinstance(value, str))
            for value in part.values():
                look(value)
        elif isinstance(part, list):
            for value in part:
                look(value)

    look(json.loads(json.dumps(request_type.model_json_schema())))
    assert found <= set(_MADE_OF)
