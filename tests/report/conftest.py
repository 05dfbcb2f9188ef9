"""A farm behind a mock transport: the real client asks it, and every request is counted."""

from __future__ import annotations

import asyncio
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from PIL import Image

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.commits import SampleMeta
from synfarm.contracts.imports import ImportRef
from synfarm.contracts.jobs import Concept, JobSpec, JobState, RenderSettings
from synfarm.contracts.manifests import Counts
from synfarm.contracts.pages import Artifact, ArtifactList, CaptionPage, MetricsPage
from synfarm.contracts.problems import Problem
from synfarm.contracts.runs import DatasetRef, RunSpec, RunState, StepMetrics
from synfarm.contracts.views import JobView, RunView, SampleGroup, SamplePage
from synfarm.sdk import AsyncClient, ClientConfig

JOB, RUN = "01m856av592yacqrph0y90t8bm", "01m856jd66gwxj4efrmjpmvc0x"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KNN_BEFORE = {"top1": 0.065, "standard_error": 0.014}
KNN_AFTER = {"top1": 0.154, "standard_error": 0.024}
FLOORS = {
    "raw_pixels": {"top1": 0.198, "standard_error": 0.025},
    "colour_histogram": {"top1": 0.159, "standard_error": 0.024},
}


def picture(side: int = 64, kind: str = "JPEG", colour: str = "teal") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, kind)
    return out.getvalue()


def step_metrics(step: int, **changes: Any) -> StepMetrics:
    loss = 8.0 * math.exp(-step / 60) + 2.0
    values = {
        "step": step,
        "at": NOW + timedelta(seconds=step),
        "epoch": step / 16,
        "losses": {"contrastive": loss, "total": loss},
        "loss_hex": loss.hex(),
        "batch_sha256": "0" * 64,
        "learning_rate": 1e-3 * min(1.0, step / 20),
        "ema_momentum": 0.99,
        "seconds": 0.5,
        "data_wait_seconds": 0.05,
        "images_per_second": 250.0,
    }
    return StepMetrics.model_validate(values | changes)


def group(index: int, concept: str, caption: str, images: int = 4, **meta: Any) -> SampleGroup:
    caption_id = f"{JOB}-{index:010d}"
    values = {
        "caption_id": caption_id,
        "caption": caption,
        "concept": concept,
        "kind": "object",
        "template": "c",
        "second": None,
        "seeds": tuple(range(images)),
        "renderer": "collage",
        "model": None,
        "revision": None,
        "sampler": None,
        "steps": None,
        "guidance": None,
        "render_size": 64,
        "size": 64,
        "image_format": "jpg",
        "quality": 95,
        "versions": {"synfarm-render-worker": "0.1.0"},
    }
    return SampleGroup(
        caption_id=caption_id,
        index=index,
        unit=index // 8,
        concept=concept,
        caption=caption,
        images=tuple(f"/v1/jobs/{JOB}/images/{caption_id}/{k}" for k in range(images)),
        meta=SampleMeta.model_validate(values | meta),
    )


@dataclass
class FakeFarm:
    """Both APIs. Change its fields to make another farm."""

    groups: Sequence[SampleGroup] = ()
    concepts: Sequence[str] = ("dog", "apple")
    page_size: int = 100
    damaged: tuple[str, ...] = ()
    """Of every page of samples."""
    image_bytes: Callable[[str, int], bytes] = lambda caption_id, k: picture()
    metrics_of: Callable[[int], StepMetrics] = step_metrics
    steps: int = 200
    run_state: RunState = RunState.COMPLETED
    job_changes: dict[str, Any] = field(default_factory=dict)
    render: RenderSettings = field(default_factory=lambda: RenderSettings(size=64))
    evals: dict[str, Any] = field(
        default_factory=lambda: {
            "0": {"knn": {**KNN_BEFORE, "classes": 48}},
            "200": {
                "knn": {**KNN_AFTER, "floors": FLOORS, "k": 10, "classes": 48, "bank_images": 1600}
                | {"test_images": 384, "test_captions": 96}
            },
        }
    )
    files: dict[str, bytes] = field(default_factory=dict)
    source: ImportRef | None = None
    absent: frozenset[str] = frozenset()
    """Kinds of request that this farm answers with 404."""
    strange: frozenset[str] = frozenset()
    """Kinds of request that it answers as a later version might."""
    requests: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0

    group = staticmethod(group)
    picture = staticmethod(picture)
    step_metrics = staticmethod(step_metrics)
    job, run = JOB, RUN

    def client(self) -> AsyncClient:
        config = ClientConfig("http://farm", "http://trainer", tries=1)
        return AsyncClient(config, transport=httpx.MockTransport(self._answer))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path, {name: int(value) for name, value in request.url.params.items()}
        for pattern, handler in self._routes().items():
            match = re.fullmatch(pattern, path)
            if match is None:
                continue
            name = handler.__name__.strip("_")
            self.requests[name] += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            await asyncio.sleep(0)
            self.in_flight -= 1
            if name in self.absent:
                break
            if name in self.strange:
                return httpx.Response(200, content=b'{"schema_version": 9}')
            found = handler(*match.groups(), **query)
            return httpx.Response(200, content=found if isinstance(found, bytes) else found.to_bytes())
        problem = Problem(title="missing", status=404, detail=f"There is no {path}.", code="missing")
        return httpx.Response(404, content=problem.to_bytes())

    def _routes(self) -> dict[str, Callable[..., Any]]:
        job, run = f"/v1/jobs/{JOB}", f"/v1/runs/{RUN}"
        return {
            job: self._job,
            f"{job}/spec": self._job_spec,
            f"{job}/captions": self._captions,
            f"{job}/samples": self._samples,
            rf"{job}/images/([0-9a-z-]+)/(\d+)": self._image,
            run: self._run,
            f"{run}/spec": self._run_spec,
            f"{run}/metrics": self._metrics,
            f"{run}/artifacts": self._artifacts,
            f"{run}/artifacts/(.+)": self._artifact,
        }

    def _job(self) -> JobView:
        values = {
            "job": JOB,
            "name": "demo",
            "owner": "local",
            "state": JobState.COMPLETED,
            "created_at": NOW,
            "planned_captions": 528,
            "planned_units": 66,
            "captions_written": 528,
            "counts": Counts(units_committed=66, captions=528, images=2112, bytes=10_500_000),
            "draws": 643,
            "rejections": {"concept_lost": 81, "repeats": 22, "too_short": 6, "unfinished": 6},
            "as_of": NOW,
        }
        return JobView.model_validate(values | self.job_changes)

    def _job_spec(self) -> JobSpec:
        return JobSpec(
            job=JOB,
            owner="local",
            created_at=NOW,
            captions_per_unit=8,
            concepts=tuple(Concept(name=name) for name in self.concepts),
            captions=528,
            render=self.render,
            source=self.source,
        )

    def _captions(self, limit: int) -> CaptionPage:
        record = CaptionRecord(
            caption_id=f"{JOB}-{0:010d}",
            index=0,
            concept="dog",
            text="a dog.",
            draws=1,
            llm_seed=1,
            llm_model="HuggingFaceTB/SmolLM2-135M",
        )
        return CaptionPage(items=(record,) * limit)

    def _samples(self, per_concept: int, limit: int, cursor: int = 0) -> SamplePage:
        end = cursor + min(self.page_size, limit)
        following = end if end < len(self.groups) else None
        return SamplePage(items=tuple(self.groups[cursor:end]), damaged=self.damaged, next_cursor=following)

    def _image(self, caption_id: str, k: str) -> bytes:
        return self.image_bytes(caption_id, int(k))

    def _run(self) -> RunView:
        return RunView(
            run=RUN,
            name="demo",
            owner="local",
            preset="tiny",
            state=self.run_state,
            created_at=NOW,
            datasets=(_dataset(),),
            step=self.steps,
            total_steps=self.steps,
            evals=self.evals,
            as_of=NOW,
        )

    def _run_spec(self) -> RunSpec:
        return RunSpec(
            run=RUN,
            owner="local",
            created_at=NOW,
            name="demo",
            preset="tiny",
            datasets=(_dataset(),),
            seed=0,
            ranks=1,
            config={"optim": {"lr": 0.001}},
        )

    def _metrics(self, since: int, limit: int) -> MetricsPage:
        items = tuple(self.metrics_of(step) for step in range(since + 1, min(self.steps, since + limit) + 1))
        return MetricsPage(items=items, next_since=items[-1].step if items else since)

    def _artifacts(self) -> ArtifactList:
        return ArtifactList(items=tuple(Artifact(name=name, size=len(data)) for name, data in self.files.items()))

    def _artifact(self, name: str) -> bytes:
        return self.files[name]


def _dataset() -> DatasetRef:
    return DatasetRef(job=JOB, generation=1, manifest_sha256="0" * 64)


@pytest.fixture
def farm() -> FakeFarm:
    """The demo's farm in small: two concepts, three captions each, a finished run."""
    captions = [("dog", "A dog sleeps on a rug."), ("apple", "Two apples beside a cup.")]
    groups = [group(i, *captions[i % 2]) for i in range(6)]
    rows = {"rows": [{"concept": "dog"}, {"concept": "apple"}]}
    files = {"patch-pca.png": picture(96, "PNG"), "patch-pca.json": json.dumps(rows).encode()}
    files |= {"backbone.json": b"{}", "backbone.safetensors": b"x"}
    return FakeFarm(groups=groups, files=files)
