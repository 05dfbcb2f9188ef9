"""From a request to a frozen run: configuration resolved, datasets named by hash and pinned, then the run itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.runs import RunRequest, RunSpec
from synfarm.idempotency import claim
from synfarm.storage.protocol import ObjectStore, StoreUnavailable
from synfarm_trainer.api.placement import Placement, check_place
from synfarm_trainer.api.records import RunRecords, new_ulid
from synfarm_trainer.api.refused import config_refused
from synfarm_trainer.api.sources import check_enough, find_source, no_such_job, weights_of
from synfarm_trainer.api.weights import check_weights

__all__ = ["Resolve", "Submission"]

Resolve = Callable[[str, Mapping[str, object]], dict[str, Any]]
"""(preset, overrides) to the fully resolved configuration as JSON values; ValueError begins with the field's name."""


@dataclass(frozen=True, slots=True)
class Submission:
    store: ObjectStore
    records: RunRecords
    resolve: Resolve
    placement: Placement
    in_doubt: Callable[[str], None]
    """Told of a run that may exist although its request is answered by an error: the store went away meanwhile."""

    def submit(self, request: RunRequest, who: Principal, key: str | None) -> RunSpec:
        """The run of the request: a new one, or the one that ``key`` made before.

        Raises:
            ProblemError: 422 a field does not fit, 404 no such job, 409 a job is not ready to be trained on.
        """
        config = self._config(request)
        run, created_at = new_ulid(), utc_now()
        if key is not None:
            body = request.to_bytes()
            record = claim(self.store, owner=who.owner, route="POST /v1/runs", key=key, body=body, new_id=run)
            run, created_at = record.id, record.at
            if (made := self.records.spec(run)) is not None:
                return made
        return self._make(request, config, who, run, created_at)

    def _make(
        self, request: RunRequest, config: dict[str, Any], who: Principal, run: str, created_at: datetime
    ) -> RunSpec:
        weights = weights_of(request)
        sources = [find_source(self.store, job, who, config, follow=request.follow) for job in request.jobs]
        check_enough(sources, weights, config["data"])
        check_weights(self.records, config["model"], who)
        spec = RunSpec(
            run=run,
            owner=who.owner,
            created_at=created_at,
            name=request.name,
            preset=request.preset,
            datasets=tuple(source.ref for source in sources),
            weights=weights,
            follow=request.follow,
            seed=request.seed,
            ranks=request.ranks,
            config=config,
        )
        # Pins come before the run: a job can then never be deleted under a run that exists. A crash in between leaves
        # pins of a run without run.json, which bind nobody for long: gc may drop them after a day.
        pinned: list[str] = []
        try:
            for job in request.jobs:
                self.store.create(layout.pin(job, run), b"{}")
                pinned.append(job)
                if self.store.head(layout.tombstone(job)) is not None:
                    raise no_such_job(job)
        except ProblemError:
            for job in pinned:
                self.store.delete(layout.pin(job, run))
            raise
        try:
            made = spec if self.records.create(spec) else self.records.spec(run) or spec
            # Once more: gc may have dropped the pins of a run that a request of long ago left half made, as this one
            # took them for its own. From here on it sees the run.
            for job in request.jobs:
                self.store.create(layout.pin(job, run), b"{}")
        except StoreUnavailable:
            self.in_doubt(run)
            raise
        return made

    def _config(self, request: RunRequest) -> dict[str, Any]:
        try:
            config = self.resolve(request.preset, request.overrides)
        except ValueError as error:
            raise config_refused(error) from error
        if len(set(request.jobs)) != len(request.jobs):
            raise ProblemError(422, "job_twice", "A job is listed twice.", field="jobs", hint="List every job once.")
        if request.follow and config["objective"]["name"] == "supce":
            raise ProblemError(
                422,
                "follow_needs_no_classes",
                "supce has an output for each concept, and a job that grows may bring new ones.",
                field="follow",
                hint="Start the run when the job has ended, or choose another objective.name.",
            )
        check_place(self.placement, request.ranks, config)
        batch, cell = config["data"]["captions_per_batch"], config["data"]["cell_captions"]
        if batch % (request.ranks * cell):
            raise ProblemError(
                422,
                "ranks_do_not_divide_batch",
                f"{request.ranks} ranks cannot share a batch of {batch} captions evenly, in whole cells of {cell}.",
                field="ranks",
                hint=f"Choose a divisor of {batch // cell}, or override data.captions_per_batch or data.cell_captions.",
            )
        return config
