"""The training run: what a user asks for, the frozen record, attempts, checkpoints, metrics."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from synfarm.contracts.asking import is_none
from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.ids import AttemptId, JobId, Name, RunId, Sha256

__all__ = [
    "CheckpointCommit",
    "CheckpointFacts",
    "CheckpointFile",
    "CheckpointShare",
    "DatasetRef",
    "RunAttempt",
    "RunEnded",
    "RunRequest",
    "RunSpec",
    "RunState",
    "StepMetrics",
]


class RunState(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in {RunState.STOPPED, RunState.COMPLETED, RunState.FAILED}


class DatasetRef(Contract):
    """One job's manifest generation, named by hash: what a run trains on never changes."""

    job: JobId
    generation: int = Field(ge=1)
    manifest_sha256: Sha256
    parts: int | None = Field(default=None, ge=1, exclude_if=is_none)
    """Of a generation that had not ended when the run was made: the first so many parts, which the hash is over
    (without their columns). Later ones come by segments."""


class RunRequest(Contract):
    """Body of ``POST /v1/runs``."""

    name: Name = "run"
    preset: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")] = "tiny"
    jobs: tuple[JobId, ...] = Field(min_length=1, max_length=64)
    overrides: dict[str, JsonValue] = Field(default_factory=dict)
    """``{"optim.lr": 0.001}``: dotted names of the preset's fields; unknown ones are refused with near names."""
    weights: tuple[float, ...] = Field(default=(), max_length=64)
    """How often captions of each job are drawn, in the order of ``jobs``: ``[0.7, 0.3]``. Each job then has epochs of
    its own. Empty: the jobs are one dataset, of which every caption comes once an epoch."""
    follow: bool = False
    """Jobs may still be running: the run begins with the parts of their manifests that are there, and takes in new ones
    at the borders of epochs until the jobs have ended."""
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    ranks: int = Field(default=1, ge=1, le=4096)


class RunSpec(Contract):
    """``runs/<run>/run.json``: frozen, fully resolved, create-only."""

    schema_version: Literal[1] = 1
    run: RunId
    owner: Name
    created_at: Moment
    name: Name
    preset: str
    datasets: tuple[DatasetRef, ...] = Field(min_length=1)
    weights: tuple[int, ...] = Field(default=(), exclude_if=lambda value: not value)
    """As whole numbers, one a dataset; empty: all are one."""
    follow: bool = Field(default=False, exclude_if=lambda value: not value)
    seed: int = Field(ge=0, lt=1 << 63)
    ranks: int = Field(ge=1)
    config: dict[str, JsonValue]


class RunAttempt(Contract):
    """``runs/<run>/attempts/<n>.json``: fencing token of one start; only the newest attempt may commit."""

    schema_version: Literal[1] = 1
    run: RunId
    number: int = Field(ge=0)
    token: AttemptId
    started_at: Moment
    host: str
    resumed_step: int = Field(default=0, ge=0)


class CheckpointFile(Contract):
    key: str
    sha256: Sha256
    size: int = Field(ge=0)


class CheckpointCommit(Contract):
    """``runs/<run>/checkpoints/<step>-<attempt>/commit.json``: written last; the checkpoint exists because it does."""

    schema_version: Literal[1] = 1
    run: RunId
    step: int = Field(ge=0)
    """Optimiser steps taken; also the whole data state: position = step x captions per batch."""
    attempt: int = Field(ge=0)
    token: AttemptId
    world_size: int = Field(ge=1)
    files: tuple[CheckpointFile, ...] = Field(min_length=1)
    """Tensors as safetensors: ``student``, ``teacher`` and ``optimizer``, each whole, or cut into shares
    ``<part>-<rank>-of-<ranks>``; and ``state.json``."""
    stall_seconds: float | None = Field(default=None, ge=0)
    """How long training stood still for it, on the rank where that was longest."""
    upload_seconds: float | None = Field(default=None, ge=0)
    """From then until every file was in the store."""
    committed_at: Moment

    @property
    def facts(self) -> CheckpointFacts:
        return CheckpointFacts(
            step=self.step,
            attempt=self.attempt,
            bytes=sum(file.size for file in self.files),
            stall_seconds=self.stall_seconds,
            upload_seconds=self.upload_seconds,
            committed_at=self.committed_at,
        )


class CheckpointShare(Contract):
    """``runs/<run>/checkpoints/<step>-<attempt>/share-<rank>.json``: what one rank has uploaded.

    The first rank makes the commit of its own share and all others'; nobody else reads them.
    """

    schema_version: Literal[1] = 1
    run: RunId
    step: int = Field(ge=0)
    attempt: int = Field(ge=0)
    token: AttemptId
    rank: int = Field(ge=0)
    world_size: int = Field(ge=1)
    files: tuple[CheckpointFile, ...]
    stall_seconds: float = Field(ge=0)
    upload_seconds: float = Field(ge=0)


class CheckpointFacts(Contract):
    """A committed checkpoint in numbers."""

    step: int = Field(ge=0)
    attempt: int = Field(ge=0)
    bytes: int = Field(ge=0)
    """Of all its files."""
    stall_seconds: float | None = None
    """How long training stood still for it, on the rank where that was longest; none for older checkpoints."""
    upload_seconds: float | None = None
    """From then until every file was in the store."""
    committed_at: Moment


class StepMetrics(Contract):
    """One line of ``metrics/<attempt>-<n>.jsonl``."""

    step: int = Field(ge=0)
    at: Moment
    epoch: float = Field(ge=0)
    losses: dict[str, float]
    """Terms and their weighted ``total``."""
    loss_hex: str
    """``float.hex`` of the total: what bit-equal means."""
    batch_sha256: Sha256
    """Of the step's global batch: caption ids, pixels of global and local crops, masks, dropped branches."""
    learning_rate: float
    ema_momentum: float
    seconds: float = Field(ge=0)
    data_wait_seconds: float = Field(ge=0)
    checkpoint_seconds: float = Field(default=0.0, ge=0)
    """Part of ``seconds``: the first rank stood still for the checkpoint of the step before."""
    checkpoint_upload_seconds: float | None = Field(default=None, ge=0)
    """Of a checkpoint that was committed since the step before: how long its upload took, beside the training."""
    checkpoint_bytes: int | None = Field(default=None, ge=0)
    """Of that checkpoint."""
    images_per_second: float = Field(ge=0)
    model_flops: float | None = Field(default=None, ge=0)
    """Floating-point operations that the method asks of the step, over all ranks: forward and back, nothing twice."""
    tflops_per_second: float | None = Field(default=None, ge=0)
    """``model_flops`` over time, in units of 1e12, of each rank."""
    mfu: float | None = Field(default=None, ge=0)
    """``tflops_per_second`` as a share of the device's *nominal* peak in dense bfloat16; None where it is unknown."""
    mfu_achievable: float | None = Field(default=None, ge=0)
    """The same as a share of what large matrix products *really reach* on the device."""
    refilled: int = Field(default=0, ge=0)
    """Samples replaced so far because of damage at rest."""
    split: dict[str, float] = Field(default_factory=dict)
    """``seconds`` of the first rank by what they were spent on: ``data``, ``between`` (records and checkpoints
    since the step before; evaluations are no part of a step), ``gradients``, ``exchange`` (of several ranks),
    ``update``."""
    monitors: dict[str, float] = Field(default_factory=dict)
    reading: dict[str, float] = Field(default_factory=dict)
    """Of all ranks since this start: caption groups that were near (``hits``) or waited for (``misses``); ``requests``
    to the store and ``bytes`` that it gave; reads made again because of damage on the way (``retries``) or because the
    store was away (``waits``); shards that made room (``evictions``) or that the disk did not take (``disk_falls``);
    groups that had rotted there (``disk_damaged``)."""


class RunEnded(Contract):
    """``runs/<run>/ended/ended.json``."""

    schema_version: Literal[1] = 1
    run: RunId
    state: RunState
    reason: str | None = None
    step: int = Field(ge=0)
    evals: dict[str, JsonValue] = Field(default_factory=dict)
    ended_at: Moment
