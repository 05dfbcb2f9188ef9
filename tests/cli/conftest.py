"""A farm to talk to: the real caption API and the real trainer service over one in-memory store, no workers."""

from __future__ import annotations

import faulthandler
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from synfarm.auth import Authenticator, new_key
from synfarm.cli.app import app
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Commit, SampleMeta, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import ConceptKind, JobRequest, JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, manifest_hash
from synfarm.contracts.runs import DatasetRef, RunAttempt, RunEnded, RunSpec, RunState, StepMetrics
from synfarm.local.ports import HeldPorts
from synfarm.local.servers import LocalRedis
from synfarm.settings import AuthSettings
from synfarm.storage.memory import MemoryStore
from synfarm.storage.shard_writer import ShardWriter
from synfarm.telemetry import configure_logging
from synfarm_caption_api.app import create_app
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.settings import ApiSettings
from synfarm_trainer.app import build_app
from synfarm_trainer.settings import TrainerSettings

DONE_JOB, FAILED_JOB = "01k" + "0" * 22 + "1", "01k" + "0" * 22 + "2"
DONE_RUN, FAILED_RUN = "01k" + "0" * 22 + "3", "01k" + "0" * 22 + "4"
NOBODYS = "01k" + "0" * 22 + "9"
STUB_LLM = Path(__file__).parents[1] / "chaos" / "stub_llm.py"
CAPTIONS = {"dog": "a dog on the grass", "red fox": "a red fox in the snow", "owl": "an owl at night"}


def _run(*arguments: str | Path, stdin: bytes | None = None, env: dict[str, str] | None = None) -> Result:
    """The command in this process; stdout and stderr apart, without a terminal."""
    clean = dict.fromkeys(("SYNFARM_API_URL", "SYNFARM_TRAINER_URL", "SYNFARM_API_KEY", "SYNFARM_DATA_DIR"))
    return CliRunner().invoke(app, [str(word) for word in arguments], input=stdin, env={**clean, **(env or {})})


@dataclass(frozen=True)
class FarmUnderTest:
    """Where it listens, and two users' keys."""

    url: str
    trainer_url: str
    key: str = field(repr=False)
    strangers_key: str = field(repr=False)
    store: MemoryStore

    @property
    def env(self) -> dict[str, str]:
        return {"SYNFARM_API_URL": self.url, "SYNFARM_TRAINER_URL": self.trainer_url, "SYNFARM_API_KEY": self.key}

    def run(self, *arguments: str | Path, stdin: bytes | None = None, **env: str) -> Result:
        return _run(*arguments, stdin=stdin, env={**self.env, **env})


class _Served:
    """An application under uvicorn, in a thread."""

    def __init__(self, application: FastAPI, port: int) -> None:
        config = uvicorn.Config(application, "127.0.0.1", port, log_config=None, ws="none", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        # A daemon: one that does not stop fails the session below, and must not keep its process alive for ever.
        self._thread = threading.Thread(target=self._server.run, name=f"uvicorn-{port}", daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the application did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        if self._thread.is_alive():
            faulthandler.dump_traceback()
            raise AssertionError(f"{self._thread.name} did not stop; the threads of this process stand on stderr")


def _spec(job: str, **changes: Any) -> JobSpec:
    request = JobRequest.model_validate({"concepts": ["dog", "red fox", "owl"], "captions": 3, **changes})
    plain = request.model_dump(exclude={"captions_per_unit"})
    return JobSpec(**plain, job=job, owner="ada", created_at=utc_now(), captions_per_unit=3)


def _finished_job(store: MemoryStore, job: str, state: JobState) -> None:
    """A job of one unit with three captions of two images, as the farm leaves it."""
    spec = _spec(job, images_per_caption=2, concept_draw="balanced")
    store.create(layout.job(job), spec.to_bytes())
    writer, drawer = ShardWriter(), Drawer(spec, load_pools())
    for index in range(spec.captions):
        concept = drawer.draw(index).concept
        meta = SampleMeta(
            caption_id=caption_id(job, index),
            caption=CAPTIONS[concept.name],
            concept=concept.name,
            kind=ConceptKind.OBJECT,
            template="c",
            second=None,
            seeds=(index, index + 10),
            renderer="collage",
            model=None,
            revision=None,
            sampler=None,
            steps=None,
            guidance=None,
            render_size=256,
            size=256,
            image_format="jpg",
            quality=95,
        )
        writer.add(index, [b"image %d 0" % index, b"image %d 1" % index], meta)
    shard = writer.finish()
    key = layout.shard(job, 0, shard.sha256)
    store.put(key, shard.data)
    commit = Commit(
        job=job,
        unit=0,
        attempt=job,
        worker="w",
        committed_at=utc_now(),
        shard=ShardRef(key=key, sha256=shard.sha256, size=len(shard.data)),
        groups=shard.groups,
        captions_sha256="0" * 64,
    )
    store.create(layout.commit(job, 0), commit.to_bytes())
    counts = Counts(units_committed=1, captions=3, images=6, bytes=len(shard.data))
    ended = Ended(
        job=job,
        generation=1,
        state=state,
        reason="2 of 3 units are dead" if state is JobState.FAILED else None,
        planned=3,
        counts=counts,
        rejections={"repeats": 2},
        draws=5,
        parts=(),
        manifest_sha256=manifest_hash(()),
        ended_at=utc_now(),
    )
    store.create(layout.ended(job, 1), ended.to_bytes())


def _step(step: int) -> StepMetrics:
    return StepMetrics(
        step=step,
        at=utc_now(),
        epoch=step / 10,
        losses={"total": 4 - step / 10},
        loss_hex="0x0",
        batch_sha256="0" * 64,
        learning_rate=0.1,
        ema_momentum=0.9,
        seconds=1.0,
        data_wait_seconds=0.1,
        images_per_second=100.0,
    )


def _ended_run(store: MemoryStore, run_id: str, state: RunState) -> None:
    spec = RunSpec(
        run=run_id,
        owner="ada",
        created_at=utc_now(),
        name="run",
        preset="tiny",
        datasets=(DatasetRef(job=DONE_JOB, generation=1, manifest_sha256=manifest_hash(())),),
        seed=0,
        ranks=1,
        config={"schedule": {"steps": 20}, "optim": {"lr": 0.001 if state is RunState.COMPLETED else 0.002}},
    )
    store.create(layout.run(run_id), spec.to_bytes())
    reason = "loss is not finite at step 7" if state is RunState.FAILED else None
    floors = {"raw_pixels": {"top1": 0.25, "standard_error": 0.02}}
    knn = [{"knn": {"top1": top1, "standard_error": 0.01, "floors": floors}} for top1 in (0.1, 0.2)]
    evals = dict(zip(("0", "20"), knn, strict=True))
    for step, records in evals.items():
        store.put(layout.eval_record(run_id, int(step), "knn.json"), json.dumps(records["knn"]).encode())
    attempt = RunAttempt(run=run_id, number=0, token=run_id, started_at=utc_now(), host="gone")
    store.create(layout.attempt(run_id, 0), attempt.to_bytes())
    lines = b"".join(_step(step).to_bytes() + b"\n" for step in range(1, 21))
    store.put(layout.metrics_part(run_id, 0, 0), lines)
    ended = RunEnded(run=run_id, state=state, reason=reason, step=20, evals=evals, ended_at=utc_now())
    store.create(layout.run_ended(run_id), ended.to_bytes())


@pytest.fixture
def run() -> Callable[..., Result]:
    """The command without any farm in its environment."""
    return _run


@pytest.fixture(scope="session")
def farm(redis_server: LocalRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmUnderTest]:
    """Shared: tests make jobs of their own, and leave those that are there alone."""
    # The services live in this process: what they log must not get into what a command prints.
    configure_logging("error", "console")
    folder, store = tmp_path_factory.mktemp("farm"), MemoryStore()
    keys = {name: new_key(name) for name in ("ada", "bob")}
    records = [record for _, record in keys.values()]
    (folder / "keys.json").write_bytes(b"[" + b",".join(record.to_bytes() for record in records) + b"]")
    for job, state in ((DONE_JOB, JobState.COMPLETED), (FAILED_JOB, JobState.FAILED)):
        _finished_job(store, job, state)
    for run_id, run_state in ((DONE_RUN, RunState.COMPLETED), (FAILED_RUN, RunState.FAILED)):
        _ended_run(store, run_id, run_state)
    held = HeldPorts(3)
    port, trainer_port, llm_port = held.numbers
    # Nothing asks it but `captions try`: the farm has no workers.
    stub = subprocess.Popen([sys.executable, str(STUB_LLM), "--port", str(llm_port), "--always-lose", "owl"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNFARM_REDIS_URL", redis_server.url(database=9))
        patch.setenv("SYNFARM_AUTH_KEYS_FILE", str(folder / "keys.json"))
        patch.setenv("SYNFARM_CAPTION_LLM_URL", f"http://127.0.0.1:{llm_port}")
        api = _Served(create_app(ApiSettings(), store), port)
    trainer = _Served(
        build_app(TrainerSettings(state_dir=folder), store, Authenticator(AuthSettings(), records)), trainer_port
    )
    yield FarmUnderTest(
        f"http://127.0.0.1:{port}", f"http://127.0.0.1:{trainer_port}", keys["ada"][0], keys["bob"][0], store
    )
    stub.kill()
    stub.wait()
    trainer.stop()
    api.stop()
