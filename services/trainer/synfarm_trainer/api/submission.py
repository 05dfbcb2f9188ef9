"""From a request to a frozen run: configuration resolved, datasets named by hash and pinned, then the run itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Ended
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.runs import DatasetRef, RunRequest, RunSpec
from synfarm.idempotency import claim
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm_trainer.api.placement import Placement, check_place
from synfarm_trainer.api.records import RunRecords, new_ulid
from synfarm_trainer.api.refused import config_refused
from synfarm_trainer.api.weights import check_weights

__all__ = ["Resolve", "Submission"]

Resolve = Callable[[str, Mapping[str, object]], dict[str, Any]]
"""(preset, overrides) to the fully resolved configuration as JSON values; ValueError begins with the field's name."""

_TRAINABLE = {JobState.COMPLETED, JobState.COMPLETED_WITH_ERRORS}


@dataclass(frozen=True, slots=True)
class Submission:
    store: ObjectStore
    records: RunRecords
    resolve: Resolve
    placement: Placement

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
        results = [self._result(job, who, config) for job in request.jobs]
        self._enough(results, config)
        check_weights(self.records, config["model"], who)
        spec = RunSpec(
            run=run,
            owner=who.owner,
            created_at=created_at,
            name=request.name,
            preset=request.preset,
            datasets=tuple(
                DatasetRef(job=e.job, generation=e.generation, manifest_sha256=e.manifest_sha256) for e in results
            ),
            seed=request.seed,
            ranks=request.ranks,
            config=config,
        )
        # Pins come before the run: a job can then never be deleted under a run that exists. A crash in between leaves
        # pins of a run without run.json, which bind nobody for long: gc may drop them after a day.
        pinned: list[str] = []
        try:
            for ended in results:
                self.store.create(layout.pin(ended.job, run), b"{}")
                pinned.append(ended.job)
                if self.store.head(layout.tombstone(ended.job)) is not None:
                    raise _no_such_job(ended.job)
        except ProblemError:
            for job in pinned:
                self.store.delete(layout.pin(job, run))
            raise
        made = spec if self.records.create(spec) else self.records.spec(run) or spec
        # Once more: gc may have dropped the pins of a run that a request of long ago left half made, as this one took
        # them for its own. From here on it sees the run.
        for ended in results:
            self.store.create(layout.pin(ended.job, run), b"{}")
        return made

    def _config(self, request: RunRequest) -> dict[str, Any]:
        try:
            config = self.resolve(request.preset, request.overrides)
        except ValueError as error:
            raise config_refused(error) from error
        if len(set(request.jobs)) != len(request.jobs):
            raise ProblemError(422, "job_twice", "A job is listed twice.", field="jobs", hint="List every job once.")
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

    def _result(self, job: str, who: Principal, config: Mapping[str, Any]) -> Ended:
        """The newest generation of a job that may be trained on."""
        try:
            spec = JobSpec.from_bytes(self.store.get(layout.job(job)))
        except ObjectMissing:
            raise _no_such_job(job) from None
        # Another owner's job is answered as one that does not exist: ids are not secrets, but their use is.
        if not who.may_see(spec.owner) or self.store.head(layout.tombstone(job)) is not None:
            raise _no_such_job(job)
        _enough_images(spec, config["data"]["views"])
        keys = [info.key for info in self.store.list(layout.ended_prefix(job))]
        if not keys:
            raise ProblemError(
                409,
                "job_not_finished",
                f"Job {job} has not ended: it has no manifest to train on.",
                field="jobs",
                hint=f"Wait until GET /v1/jobs/{job} of the caption API says completed.",
            )
        ended = Ended.from_bytes(self.store.get(keys[-1]))
        if ended.state not in _TRAINABLE:
            raise ProblemError(
                409,
                "job_not_usable",
                f"Job {job} ended {ended.state.value}.",
                field="jobs",
                hint=f"POST /v1/jobs/{job}/retry on the caption API opens a new generation, or name another job.",
            )
        if not ended.counts.captions:
            raise ProblemError(
                409,
                "job_empty",
                f"Job {job} ended without a caption that has images.",
                field="jobs",
                hint=f"Name another job; GET /v1/jobs/{job}/failures of the caption API says what went wrong.",
            )
        return ended

    def _enough(self, results: list[Ended], config: dict[str, Any]) -> None:
        data = config["data"]
        batch, captions = data["captions_per_batch"], sum(ended.counts.captions for ended in results)
        usable = int(captions * (1 - data["held_out"]))
        if usable < batch:
            raise ProblemError(
                409,
                "too_few_captions",
                f"The jobs hold {captions} captions, about {usable} after holding out; one batch takes {batch}.",
                field="jobs",
                hint="Add a job, or lower data.captions_per_batch by an override.",
            )


def _enough_images(job: JobSpec, views: int) -> None:
    if job.images_per_caption < views:
        raise ProblemError(
            422,
            "too_few_images",
            f"Job {job.job} has {job.images_per_caption} images of a caption; the run takes {views}.",
            field="overrides.data.views",
            hint=f"Override data.views with {job.images_per_caption} or less, or name a job of more images.",
        )


def _no_such_job(job: str) -> ProblemError:
    return ProblemError(
        404, "job_not_found", f"There is no job {job}.", field="jobs", hint="GET /v1/jobs lists your jobs."
    )
