"""What the HTTP APIs answer with: views of jobs and runs, computed, never stored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.commits import SampleMeta
from synfarm.contracts.ids import CaptionId, JobId, RunId
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Counts
from synfarm.contracts.runs import CheckpointFacts, DatasetRef, RunState
from synfarm.contracts.trainer_status import TrainerStatus

__all__ = ["JobPage", "JobPlan", "JobView", "Range", "RunPage", "RunView", "SampleGroup", "SamplePage"]


class JobView(Contract):
    """``GET /v1/jobs/{id}``."""

    job: JobId
    name: str
    owner: str
    state: JobState
    stalled: str | None = None
    """Beside ``running``: the environment fault that holds the job up."""
    reason: str | None = None
    created_at: Moment
    planned_captions: int
    planned_units: int
    captions_written: int = 0
    """Captions accepted so far (rendered or not)."""
    counts: Counts
    in_flight: int = 0
    repairs: int = 0
    draws: int = 0
    rejections: dict[str, int] = Field(default_factory=dict)
    images_per_second: float | None = None
    eta_seconds: float | None = None
    generation: int | None = None
    """Of the last finished manifest, once the job has ended."""
    as_of: Moment

    @property
    def texts_kept(self) -> int:
        """Texts of the language model that passed the gate. Not ``captions_written``: dead units' draws count too, and
        captions of a file had none."""
        return self.draws - sum(self.rejections.values())


class Range(Contract):
    """Between which two numbers something is expected to lie."""

    low: float = Field(ge=0)
    high: float = Field(ge=0)


class JobPlan(Contract):
    """``POST /v1/jobs?dry_run=true``: what the job would be."""

    spec: JobSpec
    units: int
    images: int
    prompts: tuple[str, ...]
    """The first prompts that would be sent."""
    capability: str
    """What a render worker must serve to draw it, as in ``WorkerInfo.capabilities``."""
    estimated_bytes: int
    """Of the shards, roughly: it depends on what the images show."""
    captions: int = 0
    gpu_hours: Range | None = None
    """Hours of render workers (GPUs; of collages, processes on CPUs), all of them together."""
    price_per_gpu_hour: float | None = None
    cost: Range | None = None
    """``gpu_hours`` at that price, in its currency; the LLM, storage and traffic come on top."""
    eta_seconds: Range | None = None
    """From now to the end: alone on the workers that live now, up to after everything that waits. None: no worker."""
    queue_position: int = 1
    """1: no other job of the same capability and lane, or of a higher lane, is unfinished. They share by owner."""
    images_ahead: int = 0
    """That those jobs still want."""
    feasible: bool = True
    """Whether it would make progress if it were submitted now; it may be submitted all the same."""
    why_not: tuple[str, ...] = ()
    rates: Literal["measured", "guess"] = "guess"
    rates_from: str = "nothing was measured for this capability: within a factor of a few"
    notes: tuple[str, ...] = Field(default=(), exclude_if=lambda value: not value)
    """What is done otherwise than was asked, a sentence each: prompts with backgrounds where there are none."""


class JobPage(Contract):
    items: tuple[JobView, ...]
    next_cursor: str | None = None


class SampleGroup(Contract):
    """One caption with its images, read through its unit's commit: ``GET /v1/jobs/{id}/samples/{caption_id}``."""

    caption_id: CaptionId
    index: int = Field(ge=0)
    unit: int = Field(ge=0)
    concept: str
    caption: str
    images: tuple[str, ...]
    """Paths of the images on this API, in order of ``k``."""
    meta: SampleMeta
    """Provenance: all that is needed to draw an image again."""


class SamplePage(Contract):
    """``GET /v1/jobs/{id}/samples``: groups spread over the committed units, ``next_cursor`` while there are more.

    The work for a page is bounded, so that it may be short, even empty, and still have a cursor.
    """

    items: tuple[SampleGroup, ...]
    damaged: tuple[CaptionId, ...] = ()
    """Groups of this page that are left out: what is stored of them is not what was committed."""
    next_cursor: int | None = None


class RunView(Contract):
    """``GET /v1/runs/{id}``."""

    run: RunId
    name: str
    owner: str
    preset: str
    state: RunState
    reason: str | None = None
    created_at: Moment
    datasets: tuple[DatasetRef, ...]
    weights: tuple[int, ...] = Field(default=(), exclude_if=lambda value: not value)
    """How often captions of each dataset are drawn, as was asked last; none: all are one."""
    step: int = 0
    total_steps: int
    epoch: float = 0.0
    percent: float = 0.0
    eta_seconds: float | None = None
    images_per_second: float | None = None
    tflops_per_second: float | None = None
    """Of each rank, for what the method asks (see ``StepMetrics``)."""
    mfu: float | None = None
    """Of the device's nominal peak in dense bfloat16; none where it is unknown, as on CPUs."""
    mfu_achievable: float | None = None
    """Of what large matrix products really reach on the device."""
    warnings: tuple[str, ...] = ()
    """Of the last step: monitors that tell a collapse, each with its cure."""
    losses: dict[str, float] = Field(default_factory=dict)
    data_wait_share: float | None = None
    refilled: int = 0
    attempt: int | None = None
    resumed_step: int | None = None
    last_checkpoint: int | None = None
    checkpoint: CheckpointFacts | None = None
    """The newest one in numbers; none while a start of the run has not yet written any."""
    evals: dict[str, JsonValue] = Field(default_factory=dict)
    queue_position: int | None = None
    """Of a queued run: 1 for the one whose turn is next. An owner's second run waits for everyone's first."""
    devices: str | None = None
    """The set of devices that it has, as ``SYNFARM_TRAINER_DEVICES`` names it."""
    trainerStatus: TrainerStatus | None = None
    """The same in short, under Kubeflow's names (KEP-2779)."""
    as_of: Moment
    """When this was so. Long ago for a run that has ended, and for one that says it runs while its machine is dead."""


class RunPage(Contract):
    items: tuple[RunView, ...]
    next_cursor: str | None = None
