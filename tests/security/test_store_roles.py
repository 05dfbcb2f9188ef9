"""A whole farm and runs, each process with the credentials of its role: nothing is refused, nothing lies idle."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.security.role_farm import Receiver, RoleFarm, kind_of, role_farm
from tests.security.store_policies import BUCKET, policies

from synfarm.contracts import layout
from synfarm.contracts.concept_sets import ConceptSetRequest
from synfarm.contracts.jobs import JobRequest, JobState
from synfarm.contracts.runs import RunRequest, RunState
from synfarm.sdk.errors import NotFound, Refused
from synfarm.storage.minio_store import MinioStore

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]

HOOK_SECRET = "whsec_" + "a" * 44
QUICK = {
    "SYNFARM_LEASE_TTL_SECONDS": "3",
    "SYNFARM_FEEDER_PASS_SECONDS": "0.2",
    "SYNFARM_FEEDER_CLAIM_GAP_SECONDS": "4",
    "SYNFARM_WEBHOOK_ALLOW_PRIVATE": "true",
    "SYNFARM_WEBHOOK_SWEEP_SECONDS": "0.2",
    "OMP_NUM_THREADS": "1",
}
SMALL = {
    "data.captions_per_batch": 12,
    "augment.size": 16,
    "model.width": 32,
    "model.depth": 2,
    "model.heads": 2,
    "objective.head_hidden": 32,
    "objective.head_out": 16,
    "schedule.steps": 8,
    "schedule.warmup_steps": 2,
    "checkpoint.every_steps": 2,
    "checkpoint.keep_last": 1,
    "eval.bootstrap": 50,
    "execution.threads": 1,
}
SPARE = {
    # A multipart upload is aborted when a part of it fails; shards and files of this size are not made here.
    ("renderer", "s3:AbortMultipartUpload", "jobs/*/shards/*"),
    ("trainer", "s3:AbortMultipartUpload", "runs/*"),
    # Read back by who loses the race for a dead letter.
    ("caption", "s3:GetObject", "jobs/*/failures/*"),
    ("renderer", "s3:GetObject", "jobs/*/failures/*"),
    # The feeder gives a unit up whose workers were lost ten times.
    ("api", "s3:PutObject", "jobs/*/failures/*"),
    # Flags are read from Redis, and from the store when Redis has lost its memory.
    ("caption", "s3:GetObject", "jobs/*/cancel.json"),
    ("caption", "s3:GetObject", "jobs/*/pause.json"),
    ("renderer", "s3:GetObject", "jobs/*/cancel.json"),
    ("renderer", "s3:GetObject", "jobs/*/pause.json"),
    # A pin is taken back when its job is deleted in the moment in which a run is submitted.
    ("trainer", "s3:DeleteObject", "jobs/*/pins/*"),
}
"""Allowed, and used by chance or not at all in this test: each with its reason."""


async def until(what: Callable[[], Awaitable[bool]], told: str, seconds: float = 300) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await what():  # noqa: ASYNC110 - what changes is in other processes
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"never came true: {told}")


async def end_of(kind: Any, name: str) -> Any:
    """The view of a job or run once it has ended; a process that is refused something would make it wait for ever."""
    async with asyncio.timeout(300):
        return await kind.wait(name, poll=0.2)


def asked(captions: int = 16, **more: Any) -> JobRequest:
    what = {} if {"concept_set", "captions_from"} & set(more) else {"concepts": ["dog", "cat", "apple", "car"]}
    body = {"captions": captions, "captions_per_unit": 4, "render": {"size": 64}}
    return JobRequest.model_validate({**what, **body, **more})


async def use_jobs(farm: RoleFarm, receiver: Receiver) -> str:
    """Every route about jobs; the id of one that has ended with all it planned."""
    jobs = farm.client.jobs
    await farm.client.put_concept_set("mine", ConceptSetRequest.model_validate({"concepts": ["dog", "apple"]}))
    assert "mine" in await farm.client.concept_sets()
    await farm.client.concept_set("mine")
    hook = {"url": receiver.url, "secret": HOOK_SECRET}
    recipe = asked(concept_set="mine", webhook=hook)
    await jobs.plan(recipe)
    job = (await jobs.submit(recipe, idempotency_key="one")).job
    assert (await jobs.submit(recipe, idempotency_key="one")).job == job
    await jobs.pause(job)
    await jobs.resume(job)
    # Two units give up by three faults each, in either worker; they are tried again.
    ended = await end_of(jobs, job)
    assert ended.state is JobState.FAILED, ended
    assert len((await jobs.failures(job)).items) == 2
    await jobs.retry(job)
    assert (await end_of(jobs, job)).state is JobState.COMPLETED
    await jobs.extend(job, 24)
    assert (await end_of(jobs, job)).state is JobState.COMPLETED
    await jobs.captions(job)
    await jobs.shards(job)
    await jobs.report(job)
    page = await jobs.samples(job)
    assert await jobs.image(job, page.items[0].caption_id, 0)
    await until(lambda: _is(len(receiver.got) >= 2), "the ends are told")

    file = await farm.client.caption_files.upload("texts", [f"a dog on a beach {n}" for n in range(8)])
    assert file.file == "texts"
    own = (await jobs.submit(asked(8, captions_from={"file": "texts"}))).job
    assert (await end_of(jobs, own)).state is JobState.COMPLETED
    gone = (await jobs.submit(asked(400))).job
    await jobs.cancel(gone)
    await end_of(jobs, gone)
    for one in (gone, own):
        await jobs.delete(one)

    async def purged() -> bool:
        try:
            await jobs.get(own)
        except NotFound:
            return True
        return False

    await until(purged, "a deleted job is gone")
    await farm.client.delete_concept_set("mine")
    return job


async def _is(value: bool) -> bool:
    return value


async def use_runs(farm: RoleFarm, job: str) -> None:
    """A run to its end, one that is stopped and resumed, one that follows a growing job and begins with weights."""
    runs, jobs = farm.client.runs, farm.client.jobs
    first = (await runs.start(RunRequest(jobs=(job,), overrides=SMALL), idempotency_key="one")).run
    again = await runs.start(RunRequest(jobs=(job,), overrides=SMALL), idempotency_key="one")
    assert again.run == first
    ended = await end_of(runs, first)
    assert ended.state is RunState.COMPLETED, ended
    await runs.metrics(first)
    await runs.checkpoints(first)
    assert await runs.evals(first)
    (artifact, *_) = (await runs.artifacts(first)).items
    data = await runs.artifact(first, artifact.name)
    assert data

    with pytest.raises(Refused):
        await jobs.delete(job)  # a run reads it

    growing = (await jobs.submit(asked(32, name="growing"))).job
    with pytest.raises(Refused):  # no part of its manifest is there yet
        await runs.start(RunRequest(jobs=(growing,), follow=True, overrides=SMALL))
    start = {"model.init_from": "store:weights/start.safetensors"}
    admin = MinioStore(farm.settings["admin"])
    backbone = admin.get(layout.export_file(first, "backbone.safetensors"))
    admin.put(layout.weights_file("start.safetensors"), backbone)
    await end_of(jobs, growing)
    second = RunRequest(jobs=(growing,), follow=True, overrides={**SMALL, **start, "schedule.steps": 4000})
    run = (await runs.start(second)).run

    async def trains() -> bool:
        return (await runs.get(run)).step > 2

    await until(trains, "the second run trains")
    await runs.stop(run)
    assert (await end_of(runs, run)).state is RunState.STOPPED
    await runs.resume(run)
    await until(trains, "it trains again")
    await runs.stop(run)
    await end_of(runs, run)


def where_secrets_show(farm: RoleFarm) -> set[str]:
    """Logs, command lines and objects that hold a secret of the farm."""
    told = json.loads((farm.folder / "secrets.json").read_text())
    secrets = [told["redis_password"], told["api_key"], HOOK_SECRET]
    secrets += [known.secret_key.get_secret_value() for known in farm.settings.values()]
    admin, seen = MinioStore(farm.settings["admin"]), dict[str, bytes]()
    seen |= {f"log {log.name}": log.read_bytes() for log in (farm.folder / "logs").iterdir()}
    seen |= {info.key: admin.get(info.key) for info in admin.list("")}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it ended while we looked
            if entry.name.isdigit():
                seen[f"command line of {entry.name}"] = (entry / "cmdline").read_bytes()
    assert len([name for name in seen if name.startswith("jobs/")]) > 20
    return {name for name, data in seen.items() if any(secret.encode() in data for secret in secrets)}


async def test_every_process_lives_on_its_role_and_uses_all_of_it(tmp_path: Path) -> None:
    def falls(point: str, name: str) -> str:
        return ";".join(f"{point}:raise:{tmp_path / f'{name}-{n}'}" for n in range(3))

    faults = {
        "caption-worker": falls("caption.before_jsonl:unit=1", "caption"),
        "render-worker": falls("render.after_draw:unit=2", "render"),
    }
    receiver = Receiver()
    try:
        async with role_farm(tmp_path / "farm", extra=QUICK, faults=faults) as farm:
            job = await use_jobs(farm, receiver)
            await use_runs(farm, job)
            farm.as_admin("synfarm.cli", "verify", job)
            assert where_secrets_show(farm) == {layout.webhook(job)}
    except TimeoutError:
        told = "\n".join(f"{role}: {line}" for role, kept in farm.notes.items() for line in kept.refused[:5])
        pytest.fail(f"it did not end; refused were\n{told}")
    finally:
        receiver.close()

    notes, known = farm.notes, policies()
    assert {role: kept.refused for role, kept in notes.items()} == {role: [] for role in notes}
    beyond = {
        (role, sent.action, kind_of(sent.key))
        for role, kept in notes.items()
        for sent in kept.sent
        if not known[role].allows(sent.action, sent.key)
    }
    assert beyond == set()
    idle = {
        (role, action, resource.removeprefix(f"{BUCKET}/"))
        for role, kept in notes.items()
        for statement in known[role].statements
        for action, resource in statement.grants()
    } - {
        (role, action, resource.removeprefix(f"{BUCKET}/"))
        for role, kept in notes.items()
        for sent in kept.sent
        for action, resource in known[role].granting(sent.action, sent.key)
    }
    assert not idle - SPARE, f"nobody uses {sorted(idle - SPARE)}"
