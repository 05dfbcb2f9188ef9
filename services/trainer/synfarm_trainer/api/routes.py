"""``/v1/runs``: submit, look, follow, control."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from synfarm.auth import Principal
from synfarm.contracts.base import utc_now
from synfarm.contracts.ids import RunId
from synfarm.contracts.mixing import MixRequest
from synfarm.contracts.pages import CheckpointList, EvalTable, MetricsPage
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.runs import RunEnded, RunRequest, RunSpec, RunState
from synfarm.contracts.views import RunPage, RunView
from synfarm.storage.protocol import StoreUnavailable
from synfarm.web import CurrentPrincipal, event_stream
from synfarm_trainer.api.checkpoints import list_checkpoints
from synfarm_trainer.api.records import RecordMalformed, RunRecords
from synfarm_trainer.api.remixing import change_weights
from synfarm_trainer.api.runner import Runner
from synfarm_trainer.api.seen import seen_run
from synfarm_trainer.api.stream import EventHub
from synfarm_trainer.api.submission import Submission
from synfarm_trainer.api.views import RunViews

__all__ = ["RunRoutes"]

Limit = Annotated[int, Query(ge=1, le=200)]


@dataclass(frozen=True)
class RunRoutes:
    """The handlers are plain functions where they touch the store: the server runs those in its thread pool."""

    records: RunRecords
    runner: Runner
    views: RunViews
    hub: EventHub
    submission: Submission
    heartbeat: float

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/v1/runs", tags=["runs"])
        add = router.add_api_route
        conflict: dict[int | str, dict[str, Any]] = {409: {}}
        stream = {"content": {"text/event-stream": {}}, "description": "Events until the run ends."}
        events: dict[int | str, dict[str, Any]] = {200: stream}
        accepted: dict[str, Any] = {"methods": ["POST"], "status_code": 202, "response_model": RunView}
        add(
            "",
            self.submit,
            methods=["POST"],
            status_code=201,
            response_model=RunView,
            summary="Start a run",
            responses={404: {}, **conflict},
        )
        add("", self.page, response_model=RunPage, summary="List runs, newest first")
        add("/{run}", self.get, response_model=RunView, summary="See where a run stands")
        add("/{run}/spec", self.spec, response_model=RunSpec, summary="See what a run was made of")
        add("/{run}/metrics", self.metrics, response_model=MetricsPage, summary="Read what its steps told")
        add("/{run}/events", self.events, response_class=Response, summary="Follow the run", responses=events)
        add("/{run}/checkpoints", self.checkpoints, response_model=CheckpointList, summary="List its checkpoints")
        add("/{run}/evals", self.evals, response_model=EvalTable, summary="Read its evaluations")
        add("/{run}/stop", self.stop, summary="Stop the run", **accepted)
        add("/{run}/resume", self.resume, summary="Resume the run", responses=conflict, **accepted)
        add("/{run}/weights", self.weights, summary="Change how its jobs are mixed", responses=conflict, **accepted)
        return router

    def submit(
        self,
        request: RunRequest,
        who: CurrentPrincipal,
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> RunView:
        """Freeze the run, pin its jobs, queue it."""
        spec = self.submission.submit(request, who, idempotency_key)
        try:
            ended = self.records.ended(spec.run)
        except StoreUnavailable:
            self.runner.look_after(spec.run)
            raise
        if ended is None:
            self.runner.submit(spec)
        return self.views.view(spec)

    def page(self, who: CurrentPrincipal, cursor: str | None = None, limit: Limit = 20) -> RunPage:
        """Runs, newest first; ``cursor`` is the ``next_cursor`` of the page before."""
        found: list[RunView] = []
        for run in reversed(self.records.ids()):
            if cursor is not None and run >= cursor:
                continue
            with suppress(RecordMalformed):  # told in the log; the others are listed
                spec = self.records.spec(run)
                if spec is None or not who.may_see(spec.owner):
                    continue
                if len(found) == limit:
                    return RunPage(items=tuple(found), next_cursor=found[-1].run)
                found.append(self.views.view(spec))
        return RunPage(items=tuple(found))

    def get(self, run: RunId, who: CurrentPrincipal) -> RunView:
        """State, step, losses, speed, last checkpoint and evaluations; `as_of` says when this was so.

        `trainerStatus` has the same in short under Kubeflow's names (KEP-2779).
        """
        return self.views.view(self._spec(run, who))

    def spec(self, run: RunId, who: CurrentPrincipal) -> RunSpec:
        """The frozen record: datasets by hash, seed, and the whole resolved configuration."""
        return self._spec(run, who)

    def metrics(
        self,
        run: RunId,
        who: CurrentPrincipal,
        since: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> MetricsPage:
        """Steps after `since`, one line a step: one curve of all starts, in which a later one replaces what it went
        back behind. Pass `next_since` for what comes after; the work for a page does not grow with the run."""
        self._spec(run, who)
        items = self.views.metrics(run, since, limit)
        return MetricsPage(items=tuple(items), next_since=items[-1].step if items else since)

    def events(
        self, run: RunId, who: CurrentPrincipal, last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        """Server-Sent Events until the run has ended: `state`, `step` (at most two a second), `checkpoint`, `eval`.

        Each has an id; with the last one as `Last-Event-ID` the stream goes on after it, or begins with `reset` and
        the full state where that is not possible. A comment line comes when nothing else does.
        """
        spec = self._spec(run, who)

        def full_state() -> dict[str, Any]:
            return self.views.view(spec).model_dump(mode="json")

        return event_stream(self.hub.log(run).follow(last_event_id, full_state), heartbeat=self.heartbeat)

    def checkpoints(self, run: RunId, who: CurrentPrincipal) -> CheckpointList:
        """Those that are committed, the one that counts last: newest attempt, then latest step."""
        self._spec(run, who)
        return CheckpointList(items=list_checkpoints(self.records, run))

    def evals(self, run: RunId, who: CurrentPrincipal) -> EvalTable:
        """Records by step, then by name."""
        self._spec(run, who)
        return EvalTable(evals=self.records.evals(run))

    def stop(self, run: RunId, who: CurrentPrincipal) -> RunView:
        """End the run after a last checkpoint; stopping twice is the same as once."""
        spec = self._spec(run, who)
        if self.records.ended(run) is None:
            self.records.stop(run, who.owner)
            if self.runner.request_stop(run):
                try:
                    step, evals = self.records.checkpoint_step(run) or 0, self.records.evals(run)
                    ended = RunEnded(run=run, state=RunState.STOPPED, step=step, evals=evals, ended_at=utc_now())
                    self.records.end(ended)
                except StoreUnavailable:
                    self.runner.submit(spec)  # its turn ends it, if no second request does
                    raise
                self.runner.tell_ended(ended)
        return self.views.view(spec)

    def resume(self, run: RunId, who: CurrentPrincipal) -> RunView:
        """Go on from the last checkpoint of a stopped or failed run."""
        spec = self._spec(run, who)
        ended = self.records.ended(run)
        if ended is not None and ended.state is RunState.COMPLETED:
            raise ProblemError(
                409,
                "run_completed",
                f"Run {run} is complete: there is nothing to resume.",
                hint="Submit a new run; override schedule.steps to train longer.",
            )
        if ended is None and self.records.is_stopped(run):
            raise ProblemError(
                409, "run_stopping", f"Run {run} is still stopping.", hint="Ask again once its state is 'stopped'."
            )
        if ended is not None:
            try:
                self.records.reopen(run)
            except StoreUnavailable:
                self.runner.submit(spec)  # half reopened it is a run that stops, which someone must end
                raise
        self.runner.submit(spec)
        return self.views.view(spec)

    def weights(self, run: RunId, request: MixRequest, who: CurrentPrincipal) -> RunView:
        """Other weights from the next start on. A run that trains saves, and starts again for it within seconds; one
        that was stopped has them once it is resumed. What it has trained on stays as it was, on record as a segment."""
        spec = self._spec(run, who)
        change_weights(self.records, spec, request, who)
        return self.views.view(spec)

    def _spec(self, run: str, who: Principal) -> RunSpec:
        return seen_run(self.records, run, who)
