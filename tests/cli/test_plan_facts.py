"""A plan's time says of what it is: a guess knows nothing of captions."""

from __future__ import annotations

import pytest
from rich.console import Console

from synfarm.cli.plan_facts import plan_facts
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.views import JobPlan, Range


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        ("guess", "of drawing alone (a guess; captions come on top)"),
        ("measured", "on the workers that live now"),
    ],
)
def test_a_guess_is_of_drawing_alone(rates: str, says: str) -> None:
    request = JobRequest.model_validate({"concepts": ["dog"], "captions": 3})
    body = request.model_dump(exclude={"captions_per_unit"})
    spec = JobSpec(**body, job="01k" + "0" * 23, owner="ada", created_at=utc_now(), captions_per_unit=3)
    plan = JobPlan(
        spec=spec,
        units=1,
        images=12,
        prompts=(),
        capability="collage-s",
        estimated_bytes=1,
        eta_seconds=Range(low=10, high=90),
        rates=rates,  # type: ignore[arg-type]
    )
    screen = Console(width=200)
    with screen.capture() as shown:
        screen.print(plan_facts(plan))
    assert says in shown.get()
    assert "3 in 1 unit of up to 3" in shown.get()
