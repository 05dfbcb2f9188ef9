"""Whatever the OpenAPI document allows, and much that it does not, is answered, and answered as documented."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from tests.fuzz.documented import answers_as_documented

from synfarm.settings import AuthSettings
from synfarm_caption_api.app import create_app
from synfarm_caption_api.settings import ApiSettings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

_NEVER_ENDS = "/v1/jobs/{job}/events"
"""Of a job that has not ended the stream goes on for ever."""


def _document() -> dict[str, Any]:
    from synfarm.storage.memory import MemoryStore

    document: dict[str, Any] = create_app(ApiSettings(feeder=False), MemoryStore()).openapi()
    return document


OPERATIONS = sorted(
    (method.upper(), path) for path, methods in _document().get("paths", {}).items() for method in methods
)


def test_the_settings_are_those_of_a_server_with_keys() -> None:
    assert AuthSettings().auth == "keys"
    assert len(OPERATIONS) >= 25


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(operation) for operation in OPERATIONS])
def test_every_answer_is_documented(site: Any, method: str, path: str) -> None:
    ends = {"untouched", "unknown", "another owner's"}
    ids = [job for name, job in site.jobs.items() if (name in ends if path == _NEVER_ENDS else name != "untouched")]

    def prepare(case: Any, data: st.DataObject) -> None:
        if "{job}" in path and (path == _NEVER_ENDS or data.draw(st.integers(0, 9)) < 8):
            case.path_parameters["job"] = data.draw(st.sampled_from(ids))
            if "{caption_id}" in path:
                index = data.draw(st.sampled_from([0, 39, 40, 10**10 - 1]))
                case.path_parameters["caption_id"] = f"{case.path_parameters['job']}-{index:010d}"

    answers_as_documented(site.url, site.headers, method, path, prepare, examples=25)
