"""The asynchronous client: the same jobs and runs for programs that do other things meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import httpx
from pydantic import JsonValue

from synfarm.contracts.backgrounds import BackgroundsAnswer, BackgroundsRequest
from synfarm.contracts.caption_reports import CaptionReport
from synfarm.contracts.concept_sets import ConceptSetRequest
from synfarm.contracts.events import Event
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.pages import (
    ArtifactList,
    CaptionPage,
    CheckpointList,
    ConceptSet,
    ConceptSetInfo,
    ConceptSetList,
    FailurePage,
    MetricsPage,
    ShardPage,
)
from synfarm.contracts.presets import PresetList, PresetView
from synfarm.contracts.runs import RunRequest, RunSpec
from synfarm.contracts.tries import TryAnswer, TryRequest
from synfarm.contracts.views import JobPage, JobPlan, JobView, RunPage, RunView, SampleGroup, SamplePage
from synfarm.contracts.workers import WorkerList
from synfarm.sdk import calls, preset_calls
from synfarm.sdk.aio_caption_files import AsyncCaptionFiles as CaptionFiles
from synfarm.sdk.aio_connection import AsyncConnection
from synfarm.sdk.config import ClientConfig

__all__ = ["AsyncClient"]


class Jobs:
    """``client.jobs``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def submit(self, request: JobRequest, *, idempotency_key: str | None = None) -> JobView:
        """Start a job. The same key and body give the same job, however often they are sent.

        Raises:
            Refused: the request is not valid; the error names the field and the cure.
        """
        return await self._connection.send(calls.submit_job(request, idempotency_key))

    async def plan(self, request: JobRequest, *, price_per_gpu_hour: float | None = None) -> JobPlan:
        """What the job would be, without starting it; with a price, in any currency, also what it would cost."""
        return await self._connection.send(calls.plan_job(request, price_per_gpu_hour))

    async def get(self, job: str) -> JobView:
        return await self._connection.send(calls.get_job(job))

    async def spec(self, job: str) -> JobSpec:
        """The frozen spec."""
        return await self._connection.send(calls.get_job_spec(job))

    async def list(self, *, cursor: str | None = None, limit: int | None = None) -> JobPage:
        return await self._connection.send(calls.list_jobs(cursor, limit))

    async def cancel(self, job: str) -> JobView:
        return await self._connection.send(calls.cancel_job(job))

    async def pause(self, job: str) -> JobView:
        return await self._connection.send(calls.pause_job(job))

    async def resume(self, job: str) -> JobView:
        return await self._connection.send(calls.resume_job(job))

    async def retry(self, job: str) -> JobView:
        """Try the units again that an ended job gave up; what is committed stays.

        Raises:
            Refused: it has not ended, or has nothing to try again; ``code`` tells which.
        """
        return await self._connection.send(calls.retry_job(job))

    async def extend(self, job: str, captions: int) -> JobView:
        """Plan more captions for an ended job: ``captions`` in all, those of before included.

        Raises:
            Refused: it has not ended, has as many already, or its captions were taken from elsewhere.
        """
        return await self._connection.send(calls.extend_job(job, captions))

    async def delete(self, job: str) -> JobView | None:
        """Delete a job and all that it made, for good; it is shown until its objects are gone.

        None: they are gone, and it took a second try to learn so.

        Raises:
            Refused: a run reads it.
            NotFound: there is none, or none any more.
        """
        return await self._connection.send(calls.delete_job(job))

    async def captions(self, job: str, *, cursor: int | None = None, limit: int | None = None) -> CaptionPage:
        """Captions written so far, kept and empty, in order of index."""
        return await self._connection.send(calls.captions_of_job(job, cursor, limit))

    async def failures(self, job: str, *, cursor: int | None = None, limit: int | None = None) -> FailurePage:
        """Units that were given up, and why."""
        return await self._connection.send(calls.failures_of_job(job, cursor, limit))

    async def shards(self, job: str, *, cursor: int | None = None, limit: int | None = None) -> ShardPage:
        """Units that are committed, with the tars that hold them."""
        return await self._connection.send(calls.shards_of_job(job, cursor, limit))

    async def report(self, job: str) -> CaptionReport:
        """What the captions are like: exact totals, and a sample whose size is told."""
        return await self._connection.send(calls.report_of_job(job))

    async def samples(
        self,
        job: str,
        *,
        concept: str | None = None,
        per_concept: int | None = None,
        cursor: int | None = None,
        limit: int | None = None,
    ) -> SamplePage:
        """Groups spread over the job; a page may be short, even empty, and still have a ``next_cursor``."""
        return await self._connection.send(calls.samples_of_job(job, concept, per_concept, cursor, limit))

    async def sample(self, job: str, caption_id: str) -> SampleGroup:
        """One caption with its provenance.

        Raises:
            NotFound: no such caption, not drawn yet, or an empty slot; ``code`` tells which.
        """
        return await self._connection.send(calls.sample_of_job(job, caption_id))

    async def image(self, job: str, caption_id: str, k: int) -> bytes:
        """The file of image ``k`` of a caption, in the format that its ``meta`` names.

        Raises:
            NotFound: as for :meth:`sample`.
        """
        return await self._connection.send(calls.image_of_job(job, caption_id, k))

    def events(self, job: str, *, last_event_id: str | None = None) -> AsyncIterator[Event]:
        """Events until the job has ended; a lost connection goes on after the last event seen."""
        return self._connection.follow(calls.events_of_job(job), last_event_id)

    async def wait(self, job: str, *, poll: float = 1.0) -> JobView:
        """Wait until the job has ended."""
        while not (view := await self.get(job)).state.is_final:  # noqa: ASYNC110 - the event is on another machine
            await asyncio.sleep(poll)
        return view


class Runs:
    """``client.runs``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def start(self, request: RunRequest, *, idempotency_key: str | None = None) -> RunView:
        """Start a training run. The same key and body give the same run, however often they are sent.

        Raises:
            Refused: the request is not valid; the error names the field and the cure.
        """
        return await self._connection.send(calls.start_run(request, idempotency_key))

    async def presets(self) -> PresetList:
        """The named configurations that a run may begin with."""
        return await self._connection.send(preset_calls.list_presets())

    async def preset(self, name: str, overrides: Mapping[str, JsonValue] | None = None) -> PresetView:
        """Every field of a preset with a run's overrides applied, each with its source, and what one step takes.

        Raises:
            NotFound: there is no such preset.
            Refused: an override does not fit; the error names the field and the cure.
        """
        return await self._connection.send(preset_calls.tell_preset(name, overrides))

    async def get(self, run: str) -> RunView:
        return await self._connection.send(calls.get_run(run))

    async def spec(self, run: str) -> RunSpec:
        """The frozen, fully resolved configuration."""
        return await self._connection.send(calls.get_run_spec(run))

    async def list(self, *, cursor: str | None = None, limit: int | None = None) -> RunPage:
        return await self._connection.send(calls.list_runs(cursor, limit))

    async def stop(self, run: str) -> RunView:
        return await self._connection.send(calls.stop_run(run))

    async def resume(self, run: str) -> RunView:
        """Go on from the last checkpoint of a stopped or failed run."""
        return await self._connection.send(calls.resume_run(run))

    async def change_weights(self, run: str, weights: Sequence[float]) -> RunView:
        """Draw captions of each job this often from the run's next start on, which follows by itself within seconds.

        Raises:
            Refused: the run has no weights, has not begun, is complete, or a job has too few captions for its own.
        """
        return await self._connection.send(calls.change_weights_of_run(run, weights))

    async def metrics(self, run: str, since: int = 0, *, limit: int | None = None) -> MetricsPage:
        """Steps after ``since``, one line a step; ``next_since`` goes on."""
        return await self._connection.send(calls.metrics_of_run(run, since, limit))

    async def checkpoints(self, run: str) -> CheckpointList:
        """Checkpoints that are committed, in order of step."""
        return await self._connection.send(calls.checkpoints_of_run(run))

    async def evals(self, run: str) -> dict[str, JsonValue]:
        """Evaluation records by step (as text), then by name."""
        return await self._connection.send(calls.evals_of_run(run))

    async def artifacts(self, run: str) -> ArtifactList:
        """What the run exports once it is complete."""
        return await self._connection.send(calls.artifacts_of_run(run))

    async def artifact(self, run: str, name: str) -> bytes:
        """One exported file, whole in memory.

        Raises:
            NotFound: the run has no such artefact, or not yet.
        """
        return await self._connection.send(calls.artifact_of_run(run, name))

    def events(self, run: str, *, last_event_id: str | None = None) -> AsyncIterator[Event]:
        """Events until the run has ended; a lost connection goes on after the last event seen."""
        return self._connection.follow(calls.events_of_run(run), last_event_id)

    async def wait(self, run: str, *, poll: float = 1.0) -> RunView:
        """Wait until the run has ended."""
        while not (view := await self.get(run)).state.is_final:  # noqa: ASYNC110 - the event is on another machine
            await asyncio.sleep(poll)
        return view


class AsyncClient:
    """Both APIs; an async context manager that closes its connections."""

    def __init__(
        self, config: ClientConfig | None = None, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        config = config or ClientConfig.from_environment()
        self._farm = AsyncConnection(config.api_url, config, transport)
        self._trainer = AsyncConnection(config.trainer_url, config, transport)
        self.jobs = Jobs(self._farm)
        self.runs = Runs(self._trainer)
        self.caption_files = CaptionFiles(self._farm)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def workers(self) -> WorkerList:
        """Live workers; what they work on is shown to admins only."""
        return await self._farm.send(calls.workers())

    async def concept_sets(self) -> list[str]:
        """Names of the concept sets that ship, then of your own."""
        return await self._farm.send(calls.concept_sets())

    async def concept_set_infos(self) -> ConceptSetList:
        """The same sets with their titles, sizes and sources."""
        return await self._farm.send(calls.concept_set_infos())

    async def concept_set(self, name: str) -> ConceptSet:
        """One set; ``collage`` is what the collage renderer can draw."""
        return await self._farm.send(calls.concept_set(name))

    async def put_concept_set(self, name: str, request: ConceptSetRequest) -> ConceptSetInfo:
        """Store a set of your own, over the one of that name; jobs that were made before stay as they are.

        Raises:
            Refused: the name is one that ships, or the set cannot be one; the error names the field and the cure.
        """
        return await self._farm.send(calls.put_concept_set(name, request))

    async def delete_concept_set(self, name: str) -> None:
        """Delete a set of your own; jobs that were made of it have all that they need.

        Raises:
            Refused: it is one that ships.
            NotFound: there is none, or none any more.
        """
        return await self._farm.send(calls.delete_concept_set(name))

    async def try_captions(self, request: TryRequest) -> TryAnswer:
        """Ask the LLM for a few captions of which nothing is kept, and see what the gate says of them."""
        return await self._farm.send(calls.try_captions(request))

    async def make_backgrounds(self, request: BackgroundsRequest) -> BackgroundsAnswer:
        """Ask the LLM for settings of concepts; takes minutes where the LLM is slow.

        An item that ``ended`` with ``rounds`` goes on in another request, with what there is as ``known``.
        """
        return await self._farm.send(calls.make_backgrounds(request))

    async def close(self) -> None:
        await self._farm.http.aclose()
        await self._trainer.http.aclose()
