"""What the collage renderer cannot draw, in words that tell a name from a synonym of another concept."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.concepts import load
from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.problems import ProblemError
from synfarm_caption_api.concept_check import resolve_concepts


@pytest.mark.parametrize(
    ("concept", "field", "detail"),
    [
        ("dogg", "name", "cannot draw 'dogg' (did you mean dog?)."),
        (
            {"name": "dog", "synonyms": ["puppy", "rooster"]},
            "synonyms.1",
            "cannot draw 'rooster' as 'dog' (it draws rooster for that word). Leave such synonyms out.",
        ),
        # Near it is dog itself: nobody who wrote 'dogg' for a dog meant that.
        ({"name": "dog", "synonyms": ["dogg"]}, "synonyms.0", "cannot draw 'dogg' as 'dog'. Leave such synonyms out."),
    ],
)
def test_a_word_that_cannot_be_drawn_is_told_as_what_it_is(concept: Any, field: str, detail: str) -> None:
    request = JobRequest.model_validate({"concepts": ["owl", concept], "captions": 8})
    with pytest.raises(ProblemError) as raised:
        resolve_concepts(request, load("collage"))
    problem = raised.value.problem
    assert (problem.field, problem.detail) == (f"concepts.1.{field}", f"The collage renderer {detail}")
