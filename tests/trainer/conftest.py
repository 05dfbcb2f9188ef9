"""A small dataset written as the farm writes it, and runs over it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from torch.optim import AdamW

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Commit, SampleMeta, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import ConceptKind, JobState
from synfarm.contracts.manifests import Counts, Ended, ManifestLine, ManifestPart, manifest_hash, write_part
from synfarm.contracts.runs import DatasetRef, RunAttempt, RunSpec
from synfarm.storage.columns_file import recall_columns, write_columns
from synfarm.storage.group_columns import UnitColumns, join_units
from synfarm.storage.protocol import ObjectStore
from synfarm.storage.shard_writer import ShardWriter
from synfarm_trainer.checkpoint.staging import Staging
from synfarm_trainer.config import OBJECTIVES, SynclrConfig, TrainConfig, to_dict
from synfarm_trainer.objectives.protocol import Objective
from synfarm_trainer.presets import resolve
from synfarm_trainer.shares import COUNTERS, share_of
from synfarm_trainer.state import counters, state_tensors

JOB = "01hzzzzzzzzzzzzzzzzzzzzzz0"
RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
TOKEN = "01hzzzzzzzzzzzzzzzzzzzzzz2"
CONCEPTS = 8
SMALL: dict[str, object] = {
    "data.captions_per_batch": 12,
    "data.block_shards": 3,
    "augment.size": 16,
    "augment.jitter": 0.8,
    "augment.hue": 0.1,
    "augment.gray": 0.2,
    "augment.blur_b": 0.3,
    "augment.solarize_b": 0.2,
    "model.width": 32,
    "model.depth": 2,
    "model.heads": 2,
    "objective.head_hidden": 32,
    "objective.head_out": 16,
    "schedule.steps": 12,
    "schedule.warmup_steps": 2,
    "checkpoint.every_steps": 3,
    "eval.bootstrap": 50,
    "execution.threads": 1,
}
EVERY_TERM: dict[str, object] = {
    "data.cell_captions": 3,
    "local_crops.count": 2,
    "local_crops.size": 8,
    "model.depth": 3,
    "model.drop_path": 0.2,
    "objective.ibot_weight": 1.0,
    "objective.prototypes": 24,
    "objective.patch_hidden": 32,
    "objective.patch_bottleneck": 16,
    "objective.teacher_temperature_steps": 8,
}
"""Added to ``SMALL``: masked patches, local crops and stochastic depth, in cells that 1, 2 and 4 ranks share."""


@pytest.fixture
def every_term() -> dict[str, object]:
    return dict(EVERY_TERM)


@pytest.fixture
def small_config() -> Callable[..., TrainConfig]:
    """(**overrides) to the configuration of a very small model."""
    return lambda overrides=None: _small(overrides or {})


def _small(overrides: dict[str, object]) -> TrainConfig:
    """Widths of heads that the chosen objective does not have are left out."""
    chosen = OBJECTIVES.get(str(overrides.get("objective.name", "synclr")), SynclrConfig)
    known = {f"objective.{item.name}" for item in fields(chosen)}
    base = {name: value for name, value in SMALL.items() if not name.startswith("objective.") or name in known}
    return resolve("tiny", {**base, **overrides})


def _jpeg(concept: int, caption: int, k: int, size: int) -> bytes:
    """A disc of the concept's colour, placed and sized by caption and image."""
    noise = np.random.default_rng([caption, k])
    image = Image.fromarray(noise.integers(0, 60, (size, size, 3), dtype=np.uint8))
    x, y, r = (int(v) for v in noise.integers([8, 8, 8], [size - 8, size - 8, size // 3]))
    colour = (40 + 27 * concept, 255 - 30 * concept, (90 * concept) % 256)
    ImageDraw.Draw(image).ellipse((x - r, y - r, x + r, y + r), fill=colour)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return out.getvalue()


@pytest.fixture
def write_dataset() -> Callable[..., DatasetRef]:
    """(store, captions, images, per_unit, size, columns, job) to a finished job of one generation."""

    def write(
        store: ObjectStore,
        *,
        captions: int = 64,
        images: int = 4,
        per_unit: int = 8,
        size: int = 48,
        columns: bool = False,
        job: str = JOB,
    ) -> DatasetRef:
        lines, units = [], []
        for unit, start in enumerate(range(0, captions, per_unit)):
            writer = ShardWriter()
            for index in range(start, min(start + per_unit, captions)):
                concept = index % CONCEPTS
                meta = SampleMeta(
                    caption_id=caption_id(job, index),
                    caption=f"a thing of kind {concept}",
                    concept=f"thing {concept}",
                    kind=ConceptKind.OBJECT,
                    template="c",
                    second=None,
                    seeds=tuple(range(images)),
                    renderer="collage",
                    model=None,
                    revision=None,
                    sampler=None,
                    steps=None,
                    guidance=None,
                    render_size=size,
                    size=size,
                    image_format="jpg",
                    quality=92,
                )
                writer.add(index, [_jpeg(concept, index, k, size) for k in range(images)], meta)
            shard = writer.finish()
            ref = ShardRef(key=layout.shard(job, unit, shard.sha256), sha256=shard.sha256, size=len(shard.data))
            store.put(ref.key, shard.data)
            commit = Commit(
                job=job,
                unit=unit,
                attempt=TOKEN,
                worker="test",
                committed_at=utc_now(),
                shard=ref,
                groups=shard.groups,
                captions_sha256=hashlib.sha256(b"").hexdigest(),
            )
            store.create(layout.commit(job, unit), commit.to_bytes())
            units.append(UnitColumns.of(commit, hashlib.sha256(commit.to_bytes()).hexdigest()))
            lines.append(
                ManifestLine(unit=unit, status="committed", shard=ref, groups=len(shard.groups), images=commit.images)
            )
        data = write_part(lines)
        key = layout.manifest_part(job, 1, 0)
        store.put(key, data)
        part = ManifestPart(key=key, sha256=hashlib.sha256(data).hexdigest(), units=len(lines), groups=captions)
        if columns:
            store.put(layout.manifest_columns(job, 1, 0), write_columns(join_units(filter(None, units)))[0])
            told = recall_columns(store, layout.manifest_columns(job, 1, 0))
            part = part.model_copy(update={"columns": told})
        ended = Ended(
            job=job,
            generation=1,
            state=JobState.COMPLETED,
            planned=captions,
            counts=Counts(captions=captions, images=captions * images, units_committed=len(lines)),
            parts=(part,),
            manifest_sha256=manifest_hash([part]),
            ended_at=utc_now(),
        )
        store.create(layout.ended(job, 1), ended.to_bytes())
        return DatasetRef(job=job, generation=1, manifest_sha256=ended.manifest_sha256)

    return write


@pytest.fixture
def write_run() -> Callable[..., RunSpec]:
    """(store, dataset, ranks, **overrides) to a run record of a very small model."""

    def write(
        store: ObjectStore,
        dataset: DatasetRef,
        *,
        run: str = RUN,
        ranks: int = 1,
        overrides: dict[str, Any] | None = None,
        **more: Any,
    ) -> RunSpec:
        spec = RunSpec(
            run=run,
            owner="local",
            created_at=utc_now(),
            name="test",
            preset="tiny",
            seed=7,
            ranks=ranks,
            config=to_dict(_small(overrides or {})),
            **{"datasets": (dataset,), **more},
        )
        store.put(layout.run(run), spec.to_bytes())
        return spec

    return write


@pytest.fixture
def open_attempt() -> Callable[..., RunAttempt]:
    """(store, number, run, resumed_step) to the fencing token of a start."""

    def write(store: ObjectStore, number: int, run: str = RUN, resumed_step: int = 0) -> RunAttempt:
        at = utc_now()
        attempt = RunAttempt(run=run, number=number, token=TOKEN, started_at=at, host="test", resumed_step=resumed_step)
        assert store.create(layout.attempt(run, number), attempt.to_bytes())
        return attempt

    return write


@pytest.fixture
def saved() -> Callable[..., dict[str, bytes]]:
    """(objective, optimizer, world, refilled) to the files of a checkpoint, as that many ranks upload them."""

    def files(objective: Objective, optimizer: AdamW, *, world: int = 1, refilled: int = 0) -> dict[str, bytes]:
        state = state_tensors(objective, optimizer)
        found = {COUNTERS: counters(refilled=refilled)}
        for rank in range(world):
            views = Staging().fill(share_of(state, rank, world), rank, world)
            found |= {name: bytes(view) for name, view in views.items()}
        return found

    return files
