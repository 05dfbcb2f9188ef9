"""Every request of both APIs as data: what to send and how to read the answer, for the two clients alike."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from urllib.parse import quote

from pydantic import JsonValue, TypeAdapter

from synfarm.contracts import layout
from synfarm.contracts.backgrounds import BackgroundsAnswer, BackgroundsRequest
from synfarm.contracts.base import Contract
from synfarm.contracts.caption_reports import CaptionReport
from synfarm.contracts.concept_sets import ConceptSetRequest
from synfarm.contracts.generations import ExtendRequest
from synfarm.contracts.ids import caption_id, check_idempotency_key, check_ulid, parse_caption_id
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.mixing import MixRequest
from synfarm.contracts.pages import (
    ArtifactList,
    CaptionPage,
    CheckpointList,
    ConceptSet,
    ConceptSetInfo,
    ConceptSetList,
    EvalTable,
    FailurePage,
    MetricsPage,
    ShardPage,
)
from synfarm.contracts.runs import RunRequest, RunSpec
from synfarm.contracts.tries import TryAnswer, TryRequest
from synfarm.contracts.views import JobPage, JobPlan, JobView, RunPage, RunView, SampleGroup, SamplePage
from synfarm.contracts.workers import WorkerList
from synfarm.sdk.call import Call, Done

__all__ = [
    "artifact_of_run",
    "artifacts_of_run",
    "cancel_job",
    "captions_of_job",
    "change_weights_of_run",
    "checkpoints_of_run",
    "concept_set",
    "concept_set_infos",
    "concept_sets",
    "delete_concept_set",
    "delete_job",
    "evals_of_run",
    "events_of_job",
    "events_of_run",
    "extend_job",
    "failures_of_job",
    "get_job",
    "get_job_spec",
    "get_run",
    "get_run_spec",
    "image_of_job",
    "list_jobs",
    "list_runs",
    "make_backgrounds",
    "metrics_of_run",
    "pause_job",
    "plan_job",
    "put_concept_set",
    "report_of_job",
    "resume_job",
    "resume_run",
    "retry_job",
    "sample_of_job",
    "samples_of_job",
    "shards_of_job",
    "start_run",
    "stop_run",
    "submit_job",
    "try_captions",
    "workers",
]

_NAMES = TypeAdapter(list[str])
_LISTS_TIMEOUT = 900.0
"""A small model on a busy CPU writes a thousand tokens a minute, and such a request may be for several thousand."""


def _query(**values: str | float | None) -> dict[str, str]:
    """Parameters that were given; the server's defaults hold for the others."""
    return {name: str(value) for name, value in values.items() if value is not None}


def _body(request: Contract) -> bytes:
    """Only what the user set: the server's own defaults hold for the rest."""
    return request.model_dump_json(exclude_unset=True).encode()


def _once(key: str | None) -> dict[str, str]:
    """Always a key, the user's or one of chance: a retry after a lost answer then never makes a second job or run.

    Raises:
        ValueError: the user's can be none.
    """
    return {"Idempotency-Key": uuid.uuid4().hex if key is None else check_idempotency_key(key)}


def submit_job(request: JobRequest, key: str | None) -> Call[JobView]:
    return Call("POST", "/v1/jobs", JobView.from_peer, body=_body(request), headers=_once(key))


def plan_job(request: JobRequest, price: float | None) -> Call[JobPlan]:
    params = _query(dry_run="true", price_per_gpu_hour=price)
    return Call("POST", "/v1/jobs", JobPlan.from_peer, params=params, body=_body(request))


def get_job(job: str) -> Call[JobView]:
    return Call("GET", f"/v1/jobs/{check_ulid(job)}", JobView.from_peer)


def list_jobs(cursor: str | None = None, limit: int | None = None) -> Call[JobPage]:
    return Call("GET", "/v1/jobs", JobPage.from_peer, params=_query(cursor=cursor, limit=limit))


def cancel_job(job: str) -> Call[JobView]:
    return Call("POST", f"/v1/jobs/{check_ulid(job)}/cancel", JobView.from_peer)


def get_job_spec(job: str) -> Call[JobSpec]:
    return Call("GET", f"/v1/jobs/{check_ulid(job)}/spec", JobSpec.from_peer)


def pause_job(job: str) -> Call[JobView]:
    return Call("POST", f"/v1/jobs/{check_ulid(job)}/pause", JobView.from_peer)


def resume_job(job: str) -> Call[JobView]:
    return Call("POST", f"/v1/jobs/{check_ulid(job)}/resume", JobView.from_peer)


def retry_job(job: str) -> Call[JobView]:
    return Call("POST", f"/v1/jobs/{check_ulid(job)}/retry", JobView.from_peer)


def extend_job(job: str, captions: int) -> Call[JobView]:
    body = _body(ExtendRequest(captions=captions))
    # While the extension is at work the server itself takes a repeat for what it is; afterwards the job shows it.
    done = Done("captions_not_more", get_job(job), lambda view: view.planned_captions >= captions)
    return Call("POST", f"/v1/jobs/{check_ulid(job)}/extend", JobView.from_peer, body=body, done=done)


def _view_if_there(data: bytes) -> JobView | None:
    return JobView.from_peer(data) if data else None


def delete_job(job: str) -> Call[JobView | None]:
    return Call("DELETE", f"/v1/jobs/{check_ulid(job)}", _view_if_there, done=Done("job_not_found"))


def captions_of_job(job: str, cursor: int | None, limit: int | None) -> Call[CaptionPage]:
    params = _query(cursor=cursor, limit=limit)
    return Call("GET", f"/v1/jobs/{check_ulid(job)}/captions", CaptionPage.from_peer, params=params)


def failures_of_job(job: str, cursor: int | None, limit: int | None) -> Call[FailurePage]:
    params = _query(cursor=cursor, limit=limit)
    return Call("GET", f"/v1/jobs/{check_ulid(job)}/failures", FailurePage.from_peer, params=params)


def shards_of_job(job: str, cursor: int | None, limit: int | None) -> Call[ShardPage]:
    params = _query(cursor=cursor, limit=limit)
    return Call("GET", f"/v1/jobs/{check_ulid(job)}/shards", ShardPage.from_peer, params=params)


def report_of_job(job: str) -> Call[CaptionReport]:
    return Call("GET", f"/v1/jobs/{check_ulid(job)}/report", CaptionReport.from_peer)


def samples_of_job(
    job: str, concept: str | None, per_concept: int | None, cursor: int | None, limit: int | None
) -> Call[SamplePage]:
    params = _query(concept=concept, per_concept=per_concept, cursor=cursor, limit=limit)
    return Call("GET", f"/v1/jobs/{check_ulid(job)}/samples", SamplePage.from_peer, params=params)


def _caption(caption: str) -> str:
    return caption_id(*parse_caption_id(caption))


def sample_of_job(job: str, caption: str) -> Call[SampleGroup]:
    return Call("GET", f"/v1/jobs/{check_ulid(job)}/samples/{_caption(caption)}", SampleGroup.from_peer)


def image_of_job(job: str, caption: str, k: int) -> Call[bytes]:
    return Call("GET", f"/v1/jobs/{check_ulid(job)}/images/{_caption(caption)}/{int(k)}", bytes)


def workers() -> Call[WorkerList]:
    return Call("GET", "/v1/workers", WorkerList.from_peer)


def concept_sets() -> Call[list[str]]:
    return Call("GET", "/v1/concept-sets", _NAMES.validate_json)


def concept_set_infos() -> Call[ConceptSetList]:
    return Call("GET", "/v1/concept-sets", ConceptSetList.from_peer, params={"about": "true"})


def concept_set(name: str) -> Call[ConceptSet]:
    return Call("GET", _set_path(name), ConceptSet.from_peer)


def _set_path(name: str) -> str:
    return f"/v1/concept-sets/{quote(name, safe='')}"


def put_concept_set(name: str, request: ConceptSetRequest) -> Call[ConceptSetInfo]:
    return Call("PUT", _set_path(name), ConceptSetInfo.from_peer, body=_body(request))


def delete_concept_set(name: str) -> Call[None]:
    return Call("DELETE", _set_path(name), _nothing, done=Done("concept_set_not_found"))


def _nothing(_: bytes) -> None:
    """An answer without a body."""


def try_captions(request: TryRequest) -> Call[TryAnswer]:
    return Call("POST", "/v1/captions", TryAnswer.from_peer, body=_body(request), costly=True)


def make_backgrounds(request: BackgroundsRequest) -> Call[BackgroundsAnswer]:
    body = _body(request)
    return Call("POST", "/v1/backgrounds", BackgroundsAnswer.from_peer, body=body, timeout=_LISTS_TIMEOUT, costly=True)


def start_run(request: RunRequest, key: str | None) -> Call[RunView]:
    return Call("POST", "/v1/runs", RunView.from_peer, body=_body(request), headers=_once(key))


def get_run(run: str) -> Call[RunView]:
    return Call("GET", f"/v1/runs/{check_ulid(run)}", RunView.from_peer)


def list_runs(cursor: str | None = None, limit: int | None = None) -> Call[RunPage]:
    return Call("GET", "/v1/runs", RunPage.from_peer, params=_query(cursor=cursor, limit=limit))


def stop_run(run: str) -> Call[RunView]:
    return Call("POST", f"/v1/runs/{check_ulid(run)}/stop", RunView.from_peer)


def get_run_spec(run: str) -> Call[RunSpec]:
    return Call("GET", f"/v1/runs/{check_ulid(run)}/spec", RunSpec.from_peer)


def resume_run(run: str) -> Call[RunView]:
    return Call("POST", f"/v1/runs/{check_ulid(run)}/resume", RunView.from_peer)


def change_weights_of_run(run: str, weights: Sequence[float]) -> Call[RunView]:
    body = _body(MixRequest(weights=tuple(weights)))
    return Call("POST", f"/v1/runs/{check_ulid(run)}/weights", RunView.from_peer, body=body)


def metrics_of_run(run: str, since: int, limit: int | None) -> Call[MetricsPage]:
    params = _query(since=since, limit=limit)
    return Call("GET", f"/v1/runs/{check_ulid(run)}/metrics", MetricsPage.from_peer, params=params)


def checkpoints_of_run(run: str) -> Call[CheckpointList]:
    return Call("GET", f"/v1/runs/{check_ulid(run)}/checkpoints", CheckpointList.from_peer)


def _evals(data: bytes) -> dict[str, JsonValue]:
    return EvalTable.from_peer(data).evals


def evals_of_run(run: str) -> Call[dict[str, JsonValue]]:
    return Call("GET", f"/v1/runs/{check_ulid(run)}/evals", _evals)


def artifacts_of_run(run: str) -> Call[ArtifactList]:
    return Call("GET", f"/v1/runs/{check_ulid(run)}/artifacts", ArtifactList.from_peer)


def artifact_of_run(run: str, name: str) -> Call[bytes]:
    layout.export_file(run, name)  # raises what a name is that no artefact has
    return Call("GET", f"/v1/runs/{check_ulid(run)}/artifacts/{name}", bytes)


def events_of_job(job: str) -> str:
    return f"/v1/jobs/{check_ulid(job)}/events"


def events_of_run(run: str) -> str:
    return f"/v1/runs/{check_ulid(run)}/events"
