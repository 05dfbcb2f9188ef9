"""Route of the report on a job's captions."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from synfarm.contracts.caption_reports import CaptionReport
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.parameters import JobPath
from synfarm_caption_api.api.services import Services

__all__ = ["router"]

router = APIRouter(prefix="/v1/jobs/{job}", tags=["contents"])


@router.get("/report", summary="See what the captions are like")
async def report(job: JobPath, who: CurrentPrincipal, services: Services) -> CaptionReport:
    """What was kept and refused, how varied the captions are, which concepts the model finds hard, what repeats.

    Totals are exact. The rest is of a sample of at most 256 units and 8,192 captions, spread over what is written;
    its size is told. While the job runs the sample is read again when 5 % more is written.
    """
    spec = await asyncio.to_thread(services.jobs.spec, job, who)
    view = await asyncio.to_thread(services.jobs.view, spec)
    return await services.reports.report(spec, view)
