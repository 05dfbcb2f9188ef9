"""The demo's job, made once by a real farm and kept as files, so that a benchmark trains on it again and again."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from synfarm.cli.demo.options import DemoOptions, job_request
from synfarm.cli.interrupts import run_interruptible
from synfarm.contracts import layout
from synfarm.contracts.base import Contract
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Ended
from synfarm.contracts.runs import DatasetRef
from synfarm.local.folder import StackFolder
from synfarm.local.stack import run_stack
from synfarm.sdk import AsyncClient, ClientConfig
from synfarm.settings import StoreSettings
from synfarm.storage.memory import MemoryStore
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore
from synfarm.whole_file import write_whole

__all__ = ["FrozenJob", "JobFailed", "Made", "frozen_job"]

_SECONDS = 10.0


class JobFailed(Exception):
    """No whole job to train on; the message says why."""


class Made(Contract):
    """``job.json``: written last; what else lies in the folder belongs to it."""

    concepts: str
    captions: int
    """As asked for; the farm plans a tenth more."""
    seed: int
    dataset: DatasetRef
    groups: int
    """Captions with images."""
    images: int


@dataclass(frozen=True)
class FrozenJob:
    folder: Path
    made: Made

    def store(self) -> MemoryStore:
        """A new store that holds the job, for one process to train on."""
        store, root = MemoryStore(), self.folder / "objects"
        for path in sorted(root.rglob("*")):
            if path.is_file():
                store.put(path.relative_to(root).as_posix(), path.read_bytes())
        return store


def frozen_job(folder: Path, *, concepts: str = "48", captions: int = 480, seed: int = 0) -> FrozenJob:
    """The job in ``folder``; made first if it is not there, which an interrupted start goes on with.

    Raises:
        JobFailed: the farm did not complete it, or the folder holds another job.
        asyncio.CancelledError: a signal came.
    """
    options = DemoOptions(concepts=concepts, captions=captions, seed=seed, data_dir=folder / "farm")
    note = folder / "job.json"
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = run_interruptible(_make(options, folder / "objects"))
        write_whole(note, made.to_bytes())
        shutil.rmtree(options.data_dir)
    made = Made.from_bytes(note.read_bytes())
    if (made.concepts, made.captions, made.seed) != (concepts, captions, seed):
        raise JobFailed(
            f"{folder} holds a job of {made.captions} captions of {made.concepts} concepts with seed {made.seed}: "
            "name these, or another folder"
        )
    return FrozenJob(folder, made)


async def _make(options: DemoOptions, objects: Path) -> Made:
    async with run_stack(options.data_dir) as stack:
        ended = await stack.supervisor.guard(_generate(stack.state.api_url, stack.key, options))
        secrets = StackFolder(options.data_dir).kept_secrets()
        store = open_store(
            StoreSettings(
                endpoint=stack.state.store_endpoint,
                bucket=stack.state.bucket,
                access_key=SecretStr(secrets.s3_access_key),
                secret_key=SecretStr(secrets.s3_secret_key),
            )
        )
        return await asyncio.to_thread(_copy, store, ended, options, objects)


async def _generate(url: str, key: str, options: DemoOptions) -> str:
    """The id of the finished job; started again after an interruption it finds the same one."""
    async with AsyncClient(ClientConfig(url, key=key)) as client:
        job = (await client.jobs.submit(job_request(options), idempotency_key="frozen-job")).job
        while not (view := await client.jobs.get(job)).state.is_final:
            counts = view.counts
            sys.stderr.write(
                f"job {job}: {view.captions_written} captions, {counts.images} images of "
                f"{view.planned_captions} captions planned\n"
            )
            await asyncio.sleep(_SECONDS)
    if view.state not in {JobState.COMPLETED, JobState.COMPLETED_WITH_ERRORS}:
        raise JobFailed(f"job {job} ended {view.state.value}: {view.reason or 'no reason given'}")
    return job


def _copy(store: ObjectStore, job: str, options: DemoOptions, objects: Path) -> Made:
    for info in store.list(layout.job_prefix(job)):
        path = objects / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(info.key))
    ended = Ended.from_bytes([store.get(info.key) for info in store.list(layout.ended_prefix(job))][-1])
    return Made(
        concepts=options.concepts,
        captions=options.captions,
        seed=options.seed,
        dataset=DatasetRef(job=job, generation=ended.generation, manifest_sha256=ended.manifest_sha256),
        groups=ended.counts.captions,
        images=ended.counts.images,
    )
