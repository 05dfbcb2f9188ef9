"""Jobs as the farm leaves them, with real images, in a store whose clock is turned by hand."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image

from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, DropReason, write_jsonl
from synfarm.contracts.columns import ColumnsRef
from synfarm.contracts.commits import Commit, EmptySlot, Failure, SampleMeta, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobRequest, JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, ManifestLine, ManifestPart, manifest_hash, write_part
from synfarm.contracts.renders import Stage
from synfarm.storage.columns_file import recall_columns, write_columns
from synfarm.storage.group_columns import UnitColumns, join_units
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectStore
from synfarm.storage.shard_writer import Shard, ShardWriter

JOB, OTHER, RUN = "01k" + "0" * 22 + "a", "01k" + "0" * 22 + "b", "01k" + "0" * 22 + "r"
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@dataclass
class Clock:
    """The store's own time."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)


def picture(number: int, size: int = 32, form: str = "JPEG") -> bytes:
    """An image with some detail, another one for each number."""
    image = Image.new("RGB", (size, size), (number * 37 % 256, number * 91 % 256, number * 53 % 256))
    image.putpixel((number % size, number // size % size), (255, 255, 255))
    made = io.BytesIO()
    image.save(made, form, quality=90)
    return made.getvalue()


def spec_of(job: str = JOB, **changes: Any) -> JobSpec:
    request = JobRequest.model_validate(
        {
            "concepts": ["dog", "cat"],
            "captions": 14,
            "images_per_caption": 2,
            "render": {"size": 32},
            "error_budget": 1,
            **changes,
        }
    )
    plain = request.model_dump(exclude={"captions_per_unit"})
    return JobSpec(**plain, job=job, owner="ada", created_at=START, captions_per_unit=4)


@dataclass
class Made:
    """A job in a store, written unit by unit: four captions a unit, the last slot of each unit empty."""

    store: ObjectStore
    spec: JobSpec = field(default_factory=spec_of)
    lines: dict[int, ManifestLine] = field(default_factory=dict)
    commits: dict[int, Commit] = field(default_factory=dict)

    def begin(self) -> Made:
        self.store.create(layout.job(self.job), self.spec.to_bytes())
        self.store.create(layout.active(self.job), b"{}")
        return self

    @property
    def job(self) -> str:
        return self.spec.job

    def records(self, unit: int) -> list[CaptionRecord]:
        made = []
        for index in self.spec.unit_range(unit):
            empty = index % 4 == 3
            made.append(
                CaptionRecord(
                    caption_id=caption_id(self.job, index),
                    index=index,
                    concept="dog",
                    text=None if empty else f"a dog number {index}",
                    empty_reason=DropReason.TOO_SHORT if empty else None,
                    draws=1,
                    llm_seed=index,
                    llm_model="stub",
                )
            )
        return made

    def meta(self, record: CaptionRecord, **changes: Any) -> SampleMeta:
        fields: dict[str, Any] = {
            "caption_id": record.caption_id,
            "caption": record.text or "",
            "concept": record.concept,
            "kind": record.kind,
            "template": record.template,
            "second": None,
            "seeds": tuple(range(self.spec.images_per_caption)),
            "renderer": "collage",
            "model": None,
            "revision": None,
            "sampler": None,
            "steps": None,
            "guidance": None,
            "render_size": self.spec.render.size,
            "size": self.spec.render.size,
            "image_format": self.spec.render.image_format,
            "quality": 90,
        }
        return SampleMeta(**{**fields, **changes})

    def shard(
        self, unit: int, draw: Callable[[int], bytes] = picture, meta: Callable[..., SampleMeta] | None = None
    ) -> Shard | None:
        """The tar of a unit; ``draw`` makes image ``2 * index + k``."""
        kept = [record for record in self.records(unit) if record.text is not None]
        writer = ShardWriter()
        for record in kept:
            images = [draw(2 * record.index + k) for k in range(self.spec.images_per_caption)]
            writer.add(record.index, images, (meta or self.meta)(record))
        return writer.finish() if kept else None

    def upload(self, unit: int, shard: Shard) -> ShardRef:
        key = layout.shard(self.job, unit, shard.sha256)
        self.store.put(key, shard.data)
        return ShardRef(key=key, sha256=shard.sha256, size=len(shard.data))

    def write_captions(self, unit: int) -> bytes:
        jsonl = write_jsonl(self.records(unit))
        self.store.create(layout.captions(self.job, unit), jsonl)
        return jsonl

    def commit(self, unit: int, shard: Shard | None = None) -> Commit:
        """Captions, tar and commit of a unit."""
        jsonl, shard = self.write_captions(unit), shard or self.shard(unit)
        commit = Commit(
            job=self.job,
            unit=unit,
            attempt=self.job,
            worker="w",
            committed_at=START,
            shard=None if shard is None else self.upload(unit, shard),
            groups=() if shard is None else shard.groups,
            empty=tuple(
                EmptySlot(index=record.index, caption_id=record.caption_id, reason=record.empty_reason)
                for record in self.records(unit)
                if record.empty_reason is not None
            ),
            captions_sha256=hashlib.sha256(jsonl).hexdigest(),
        )
        self.rewrite(commit)
        return commit

    def rewrite(self, commit: Commit) -> None:
        self.store.put(layout.commit(self.job, commit.unit), commit.to_bytes())
        self.commits[commit.unit] = commit
        self.lines[commit.unit] = ManifestLine(
            unit=commit.unit,
            status="committed",
            shard=commit.shard,
            groups=len(commit.groups),
            images=commit.images,
            empty=len(commit.empty),
        )

    def bury(self, unit: int) -> None:
        letter = Failure(
            job=self.job, unit=unit, stage=Stage.RENDER, fault="unit", reason="out of memory", count=3, at=START
        )
        self.store.create(layout.failure(self.job, unit), letter.to_bytes())
        self.lines[unit] = ManifestLine(unit=unit, status="dead", reason="out of memory")

    def end(
        self, generation: int = 1, state: JobState | None = None, part_units: int = 2, columns: bool = False
    ) -> Ended:
        """Manifest parts and the end record, and no feeder is told of the job any more."""
        lines, counts, parts = [self.lines[unit] for unit in sorted(self.lines)], Counts(), []
        for line in lines:
            size = line.shard.size if line.shard else 0
            dead = line.status == "dead"
            counts += Counts(
                units_committed=int(not dead),
                units_dead=int(dead),
                captions=line.groups,
                images=line.images,
                empty=line.empty,
                bytes=size,
            )
        for number, at in enumerate(range(0, len(lines), part_units)):
            held = lines[at : at + part_units]
            key, data = layout.manifest_part(self.job, generation, number), write_part(held)
            self.store.create(key, data)
            digest = hashlib.sha256(data).hexdigest()
            parts.append(
                ManifestPart(
                    key=key,
                    sha256=digest,
                    units=len(held),
                    groups=sum(line.groups for line in held),
                    columns=self._columns(held, generation, number) if columns else None,
                )
            )
        with_errors = JobState.COMPLETED_WITH_ERRORS if counts.units_dead else JobState.COMPLETED
        ended = Ended(
            job=self.job,
            generation=generation,
            state=state or with_errors,
            planned=self.spec.captions,
            counts=counts,
            parts=tuple(parts),
            manifest_sha256=manifest_hash(parts),
            ended_at=START,
        )
        self.store.create(layout.ended(self.job, generation), ended.to_bytes())
        self.store.delete(layout.active(self.job))
        return ended

    def _columns(self, held: list[ManifestLine], generation: int, number: int) -> ColumnsRef | None:
        commits = [self.store.get(layout.commit(self.job, line.unit)) for line in held if line.shard is not None]
        units = [UnitColumns.of(Commit.from_bytes(data), hashlib.sha256(data).hexdigest()) for data in commits]
        key = layout.manifest_columns(self.job, generation, number)
        self.store.create(key, write_columns(join_units(filter(None, units)))[0])
        return recall_columns(self.store, key)

    def complete(self, dead: Iterable[int] = ()) -> Made:
        """All units, of which some are dead, and the end."""
        for unit in range(self.spec.units):
            if unit in dead:
                self.write_captions(unit)
                self.bury(unit)
            else:
                self.commit(unit)
        self.end()
        return self


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def made(memory: MemoryStore) -> Made:
    """A job of four units that has begun."""
    return Made(memory).begin()


@pytest.fixture
def make_job() -> Callable[..., Made]:
    """A job in any store."""

    def make(store: ObjectStore, job: str = JOB, **changes: Any) -> Made:
        return Made(store, spec_of(job, **changes)).begin()

    return make
