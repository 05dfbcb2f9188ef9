"""One self-contained page about a job and the run that was trained on it, made of what the two APIs answer."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm.contracts.base import utc_now
from synfarm.report.document import compose
from synfarm.report.gathering import gather
from synfarm.report.options import Place, ReportOptions
from synfarm.report.page import render
from synfarm.sdk import AsyncClient

__all__ = ["Place", "ReportOptions", "build_report"]


async def build_report(
    client: AsyncClient,
    *,
    job: str,
    run: str | None = None,
    stages: Mapping[str, float] | None = None,
    place: Place | None = None,
    options: ReportOptions | None = None,
) -> str:
    """An HTML page that needs nothing beside itself; write it as UTF-8.

    Args:
        client: the report is made of its answers alone, so the farm may be anywhere.
        run: a training run to tell of; None leaves those parts out.
        stages: seconds by stage, in order; without them the run's own times are shown.
        place: where the data lies, for the commands that the page gives.
        options: how much it shows; the defaults give a few megabytes whatever the size of the job.

    Raises:
        SynfarmError: the job or the run does not answer. Anything else that is missing is said in the page.
    """
    options = options or ReportOptions()
    found = await gather(client, job, run, options)
    return render(compose(found, stages, place or Place(), options, utc_now()))
