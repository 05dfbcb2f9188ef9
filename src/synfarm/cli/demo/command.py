"""The course of the demo: start the stack, submit a job, wait, train on it, tell what came out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rich.console import Console

from synfarm.cli.demo.options import DemoOptions, check_enough, job_request, run_request
from synfarm.cli.demo.place import DemoPlace
from synfarm.cli.demo.summary import DemoSummary, print_summary, summarise
from synfarm.cli.display import Display, open_display
from synfarm.cli.exits import CommandFailed
from synfarm.cli.report import page_of
from synfarm.contracts.jobs import JobRequest, JobState
from synfarm.contracts.runs import RunState
from synfarm.contracts.views import JobView, RunView
from synfarm.local.stack import Stack, run_stack
from synfarm.sdk import ApiUnreachable, AsyncClient, ClientConfig, NotFound, SynfarmError

__all__ = ["DemoFailed", "run_demo"]

_POLL = 0.5


class DemoFailed(CommandFailed):
    """The demo cannot go on: one clear sentence."""


@dataclass
class _Clock:
    """How long each stage took, in seconds."""

    stages: dict[str, float] = field(default_factory=dict)

    @asynccontextmanager
    async def time(self, stage: str) -> AsyncIterator[None]:
        started = time.monotonic()
        yield
        self.stages[stage] = round(time.monotonic() - started, 1)


@dataclass
class _Demo:
    """One demo on a running stack."""

    options: DemoOptions
    request: JobRequest
    place: DemoPlace
    stack: Stack
    clock: _Clock
    display: Display

    async def chain(self) -> DemoSummary:
        config = ClientConfig(self.stack.state.api_url, self.stack.state.trainer_url, key=self.stack.key)
        async with AsyncClient(config) as client:
            async with self.clock.time("captions and images"):
                job = await self._generate(client)
            async with self.clock.time("training and evaluation"):
                run = await self._train(client, job.job)
            page = await self._report(client, job.job, run.run)
        summary = summarise(self.options, self.stack.state, job, run, self.clock.stages)
        return self.place.finish(summary, page)

    async def _generate(self, client: AsyncClient) -> JobView:
        remembered = self.place.recall()
        submitted = await client.jobs.submit(self.request, idempotency_key=remembered.idempotency_key)
        self.place.keep(remembered.model_copy(update={"job": submitted.job}))
        self.display.stage(
            f"job {submitted.job}: {self.request.captions} captions of {len(self.request.concepts)} concepts, "
            f"{self.request.images_per_caption} images of {self.request.render.size} px each"
        )
        while True:
            view = await client.jobs.get(submitted.job)
            self.display.job(view)
            if view.state.is_final:
                break
            await asyncio.sleep(_POLL)
        if view.state not in {JobState.COMPLETED, JobState.COMPLETED_WITH_ERRORS}:
            # Its key would only find the failed job again.
            self.place.forget()
            raise DemoFailed(
                f"job {view.job} ended {view.state.value}: {view.reason or 'no reason given'}. "
                "The next start makes a new one."
            )
        return view

    async def _train(self, client: AsyncClient, job: str) -> RunView:
        remembered = self.place.recall()
        run = remembered.run
        if run is not None:
            try:
                await client.runs.get(run)
            except NotFound:
                run = None
        if run is None:
            run = (await client.runs.start(run_request(self.options, job))).run
            self.place.keep(remembered.model_copy(update={"run": run}))
        self.display.stage(f"run {run}: training a small ViT on them")
        while True:
            view = await client.runs.get(run)
            self.display.run(view)
            if view.state.is_final:
                break
            await asyncio.sleep(_POLL)
        if view.state is not RunState.COMPLETED:
            self.place.keep(remembered.model_copy(update={"run": None}))
            raise DemoFailed(
                f"run {view.run} ended {view.state.value}: {view.reason or 'no reason given'}. "
                "The next start trains anew on the same images."
            )
        return view

    async def _report(self, client: AsyncClient, job: str, run: str) -> bytes | None:
        self.display.stage("writing the report")
        try:
            return await page_of(client, job, run, folder=self.options.data_dir, stages=self.clock.stages)
        except (CommandFailed, SynfarmError) as error:
            # Everything else is made: that is worth more than an exit code.
            self.display.note(f"no report: {error}")
            return None


def _finished(place: DemoPlace, request: JobRequest, console: Console) -> DemoSummary | None:
    """What a finished demo with the same options left, shown again; None if there is none."""
    remembered = place.find()
    if remembered is None or remembered.summary is None or remembered.finished_at is None:
        return None
    summary = place.show_again(remembered.summary)
    if summary is None:
        return None
    when = f"{remembered.finished_at.astimezone():%Y-%m-%d %H:%M}"
    console.print(
        f"== this demo was finished on {when}; nothing is made again (--fresh removes {place.folder} and starts over)",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    print_summary(summary, request, console)
    return summary


async def run_demo(options: DemoOptions, console: Console) -> DemoSummary:
    """Run the demo, or go on with it, or show it again if it is finished; and print its summary.

    Raises:
        CommandFailed: an option cannot be used; or, as DemoFailed, the job, the run or a service failed.
        FolderDamaged, FolderInUse, MissingPackages, ServerFailed, ServiceGaveUp: as the stack tells.
    """
    request, clock = job_request(options), _Clock()
    check_enough(options, len(request.concepts))
    place = DemoPlace(options)
    try:
        if options.fresh:
            place.clear()
        elif (summary := _finished(place, request, console)) is not None:
            return summary
        display, drawing = open_display(console)
        with drawing:
            for note in place.begin():
                display.stage(note)
            display.stage(f"starting the farm in {options.data_dir} (its logs: {options.data_dir / 'logs'})")
            started = time.monotonic()
            async with run_stack(options.data_dir, on_change=display.process) as stack:
                clock.stages["start of the farm"] = round(time.monotonic() - started, 1)
                demo = _Demo(options, request, place, stack, clock, display)
                summary = await stack.supervisor.guard(demo.chain())
    except ApiUnreachable as error:
        logs = options.data_dir / "logs"
        raise DemoFailed(f"a service stopped answering ({error}); its log is in {logs}.") from error
    print_summary(summary, request, console)
    return summary
