"""Jobs with images: commits and tars as a render worker writes them, small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import DropReason
from synfarm.contracts.commits import Commit, EmptySlot, SampleMeta, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.manifests import Counts, Progress
from synfarm.contracts.recipes import Recipe
from synfarm.storage.memory import MemoryStore
from synfarm.storage.shard_writer import ShardWriter
from synfarm_caption_api.prompts.planner import Planner

ATTEMPT = "01k" + "a" * 23


def image_bytes(index: int, k: int) -> bytes:
    """What stands for the image ``k`` of a caption."""
    return f"image {index}.{k} ".encode() * 20


def meta_of(spec: JobSpec, index: int, recipe: Recipe | None = None) -> SampleMeta:
    concept = Planner(spec, recipe).at(index).concept
    return SampleMeta(
        caption_id=caption_id(spec.job, index),
        caption=f"a {concept.name} of number {index}",
        concept=concept.name,
        kind=concept.kind,
        template="c",
        second=None,
        seeds=tuple(range(spec.images_per_caption)),
        renderer="collage",
        model=None,
        revision=None,
        sampler=None,
        steps=None,
        guidance=None,
        render_size=spec.render.size,
        size=spec.render.size,
        image_format=spec.render.image_format,
        quality=spec.render.quality,
    )


class Renders:
    """Stands for the render worker of one store."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.recipe: Recipe | None = None
        """Of the jobs that follow."""

    def job(self, owner: str = "ada", **changes: Any) -> JobSpec:
        """A job that was submitted."""
        body = {"concepts": ["dog", "red fox", "owl"], "captions": 40, "images_per_caption": 2, **changes}
        size = body.pop("captions_per_unit", 8)
        job = body.pop("job", "01k" + "0" * 23)
        plain = JobRequest.model_validate(body).model_dump(exclude={"captions_per_unit"})
        spec = JobSpec(**plain, job=job, owner=owner, created_at=utc_now(), captions_per_unit=size)
        self.store.create(layout.job(spec.job), spec.to_bytes())
        self.store.create(layout.active(spec.job), b"{}")
        return spec

    def commit(self, spec: JobSpec, *units: int, empty: frozenset[int] = frozenset()) -> None:
        """Draw and commit units; the slots of ``empty`` stay empty."""
        for unit in units:
            writer, rows, slots = ShardWriter(), [], []
            for index in spec.unit_range(unit):
                if index in empty:
                    slots.append((index, caption_id(spec.job, index)))
                    continue
                images = [image_bytes(index, k) for k in range(spec.images_per_caption)]
                rows.append(writer.add(index, images, meta_of(spec, index, self.recipe)))
            shard = None
            if rows:
                made = writer.finish()
                shard = ShardRef(key=layout.shard(spec.job, unit, made.sha256), sha256=made.sha256, size=len(made.data))
                self.store.put(shard.key, made.data)
            commit = Commit(
                job=spec.job,
                unit=unit,
                attempt=ATTEMPT,
                worker="w",
                committed_at=utc_now(),
                shard=shard,
                groups=tuple(rows),
                empty=tuple(
                    EmptySlot(index=index, caption_id=caption, reason=DropReason.CONCEPT_LOST)
                    for index, caption in slots
                ),
                captions_sha256="0" * 64,
            )
            self.store.create(layout.commit(spec.job, unit), commit.to_bytes())

    def note(self, spec: JobSpec, watermark: int) -> None:
        """The feeder's note of how far the job is."""
        progress = Progress(job=spec.job, watermark=watermark, counts=Counts(), parts=0, as_of=utc_now())
        self.store.put(layout.progress(spec.job), progress.to_bytes())

    def damage(self, spec: JobSpec, unit: int, at: int) -> None:
        """Flip one byte of a unit's tar, ``at`` bytes into it."""
        commit = Commit.from_bytes(self.store.get(layout.commit(spec.job, unit)))
        assert commit.shard is not None
        data = bytearray(self.store.get(commit.shard.key))
        data[at] ^= 1
        self.store.put(commit.shard.key, bytes(data))


@pytest.fixture
def renders(site: Any) -> Renders:
    return Renders(site.store)


@pytest.fixture
def calls(site: Any) -> Callable[[], list[tuple[str, str]]]:
    """Count the operations on the store from now on; the returned function gives them so far."""
    seen: list[tuple[str, str]] = []
    site.store.fault = lambda operation, key: seen.append((operation, key))
    return lambda: list(seen)
