"""One operation of an API, asked with whatever its document allows and much that it does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

__all__ = ["Prepare", "answers_as_documented"]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
Prepare = Callable[[Any, st.DataObject], None]
"""Fits a case to what the server has: ids that exist, mostly."""


def answers_as_documented(
    url: str, headers: Mapping[str, str], method: str, path: str, prepare: Prepare, *, examples: int
) -> None:
    """
    Args:
        headers: with a key, which one of twenty cases does not send.
        examples: cases; `make fuzz` asks for more.
    """
    operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[path][method]
    cases = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @settings(
        max_examples=int(os.environ.get("SYNFARM_FUZZ_EXAMPLES", examples)),
        deadline=None,
        derandomize="SYNFARM_FUZZ_EXAMPLES" not in os.environ,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, st.data())
    def answers(case: Any, data: st.DataObject) -> None:
        prepare(case, data)
        sent = {} if data.draw(st.integers(0, 19)) == 0 else dict(headers)
        case.call_and_validate(base_url=url, headers=sent, checks=CHECKS, timeout=30)

    answers()
