"""The jobs that a run asks for: what of them may be trained on, named by hash, and whether it is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Ended, Progress
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.runs import DatasetRef, RunRequest
from synfarm.storage.manifest_reader import ManifestDamaged, open_hash, read_open_parts
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm_trainer.api.job_objects import owner_in, read_as, unreadable
from synfarm_trainer.data.mixture import Shares, whole_weights

__all__ = ["Source", "check_enough", "find_source", "no_such_job", "weights_of", "whole"]

_TRAINABLE = {JobState.COMPLETED, JobState.COMPLETED_WITH_ERRORS}


@dataclass(frozen=True, slots=True)
class Source:
    """One job as a run freezes it."""

    ref: DatasetRef
    captions: int
    """With images, those that will be held out among them."""


def find_source(store: ObjectStore, job: str, who: Principal, config: Mapping[str, Any], *, follow: bool) -> Source:
    """The newest generation of a job that may be trained on; with ``follow`` the one that is in work, if one is.

    Raises:
        ProblemError: 404 there is no such job for the caller, 422 it has too few images of a caption, 409 it is not
            ready, not usable, or of a newer version.
    """
    spec = _spec(store, job, who)
    _enough_images(spec, config["data"]["views"])
    if follow and (generation := _in_work(store, job)) is not None:
        return _open(store, job, generation)
    keys = [info.key for info in store.list(layout.ended_prefix(job))]
    if not keys:
        raise ProblemError(
            409,
            "job_not_finished",
            f"Job {job} has not ended: it has no manifest to train on.",
            field="jobs",
            hint=f"Wait until GET /v1/jobs/{job} of the caption API says completed.",
        )
    ended = read_as(Ended, store.get(keys[-1]), job, keys[-1])
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
    ref = DatasetRef(job=ended.job, generation=ended.generation, manifest_sha256=ended.manifest_sha256)
    return Source(ref, ended.counts.captions)


def _spec(store: ObjectStore, job: str, who: Principal) -> JobSpec:
    """Of a job that the caller may see. Another owner's is answered as one that does not exist: ids are not secrets,
    but their use is.

    Raises:
        ProblemError: as :func:`find_source`.
    """
    key = layout.job(job)
    try:
        data = store.get(key)
    except ObjectMissing:
        raise no_such_job(job) from None
    owner = owner_in(data)
    if owner is None or not who.may_see(owner) or store.head(layout.tombstone(job)) is not None:
        raise no_such_job(job)
    return read_as(JobSpec, data, job, key)


def _in_work(store: ObjectStore, job: str) -> int | None:
    """The generation of a job that has not ended."""
    if store.head(layout.active(job)) is None:
        return None
    key = layout.progress(job)
    try:
        generation = read_as(Progress, store.get(key), job, key).generation
    except ObjectMissing:
        generation = 1
    return generation if store.head(layout.ended(job, generation)) is None else None


def _open(store: ObjectStore, job: str, generation: int) -> Source:
    try:
        parts = read_open_parts(store, job, generation)
    except ManifestDamaged as error:
        if isinstance(error.__cause__, ValidationError):
            raise unreadable(job, error.key, error.__cause__) from error
        hint = f"`synfarm verify {job}` tells what else is damaged."
        raise ProblemError(409, "job_not_usable", f"{error}", field="jobs", hint=hint) from error
    if not parts:
        raise ProblemError(
            409,
            "job_not_far_enough",
            f"Job {job} has no part of its manifest yet: one is written for every {layout.FAN} units that are done.",
            field="jobs",
            hint="Start the run later; a small job has none before its end, and is then trained on without follow.",
        )
    ref = DatasetRef(job=job, generation=generation, manifest_sha256=open_hash(parts), parts=len(parts))
    return Source(ref, sum(part.groups for part in parts))


def weights_of(request: RunRequest) -> tuple[int, ...]:
    """The weights of the request as whole numbers.

    Raises:
        ProblemError: 422 they are not as many as the jobs, or cannot be.
    """
    return whole(request.weights, len(request.jobs)) if request.weights else ()


def whole(weights: Sequence[float], jobs: int) -> tuple[int, ...]:
    """Weights of so many jobs as whole numbers.

    Raises:
        ProblemError: 422 they are not as many as the jobs, or cannot be.
    """
    if len(weights) != jobs:
        detail = f"weights has {len(weights)} numbers, jobs has {jobs}."
        hint = "Give one weight a job, in their order, or none at all."
        raise ProblemError(422, "weights_invalid", detail, field="weights", hint=hint)
    try:
        return whole_weights(weights)
    except ValueError as error:
        hint = "Give one positive number a job, for example [0.7, 0.3]."
        raise ProblemError(422, "weights_invalid", f"{error}", field="weights", hint=hint) from error


def check_enough(sources: Sequence[Source], weights: tuple[int, ...], data: Mapping[str, Any]) -> None:
    """
    Raises:
        ProblemError: 409 a batch takes more captions than there are.
    """
    batch, kept = data["captions_per_batch"], 1 - data["held_out"]
    captions = sum(source.captions for source in sources)
    if int(captions * kept) < batch:
        raise ProblemError(
            409,
            "too_few_captions",
            f"The jobs hold {captions} captions, about {int(captions * kept)} after holding out; one batch takes "
            f"{batch}.",
            field="jobs",
            hint="Add a job, or lower data.captions_per_batch by an override.",
        )
    for source, most in zip(sources, Shares(weights).most_in(batch), strict=True) if weights else ():
        if int(source.captions * kept) < most:
            raise ProblemError(
                409,
                "too_few_captions",
                f"Job {source.ref.job} holds {source.captions} captions, about {int(source.captions * kept)} after "
                f"holding out; by its weight one batch takes up to {most}.",
                field="weights",
                hint="Lower the weight of the job, or data.captions_per_batch by an override.",
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


def no_such_job(job: str) -> ProblemError:
    """404."""
    return ProblemError(
        404, "job_not_found", f"There is no job {job}.", field="jobs", hint="GET /v1/jobs lists your jobs."
    )
