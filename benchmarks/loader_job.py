"""The job that loaders are compared on: captions of four JPEGs each, written to S3 as the farm writes them.

The pictures are collages with noise of several grains, so that a file of 512 pixels at quality 90 is about as large as
that of a photograph (some 60 kB); they repeat after some hundred, which no loader can make use of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Commit, SampleMeta, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import ConceptKind, JobState, RenderSettings
from synfarm.contracts.manifests import Counts, Ended, ManifestLine, ManifestPart, manifest_hash, write_part
from synfarm.contracts.runs import DatasetRef
from synfarm.storage.protocol import ObjectStore
from synfarm.storage.shard_writer import ShardWriter
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.encoding import encode
from synfarm_render_worker.renderer import ImageRequest

__all__ = ["VIEWS", "groups", "jpegs", "write_files", "write_job"]

VIEWS, PER_SHARD = 4, 16
_JOB, _TOKEN = "01hzzzzzzzzzzzzzzzzzzzzzz0", "01hzzzzzzzzzzzzzzzzzzzzzz2"
_CAPTIONS = ("a dog on a beach", "two red apples, in the forest", "a guitar on a city street at night", "a huge fox")
_GRAINS = ((16, 8.0), (8, 3.0))
"""Pixels of a grain and its standard deviation in grey levels."""


def _noise(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    total = np.zeros((side, side, 3))
    for grain, strength in _GRAINS:
        small = rng.normal(128, strength, (side // grain, side // grain, 3)).clip(0, 255).astype(np.uint8)
        total += np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC), np.float64) - 128
    return total


def jpegs(side: int, quality: int, count: int = 64) -> list[bytes]:
    """Files of ``count`` pictures, an eighth of them collages of their own."""
    rng, collage = np.random.default_rng(0), CollageRenderer(RenderSettings(size=side))
    asked = [ImageRequest(_CAPTIONS[i % len(_CAPTIONS)], i) for i in range(max(1, count // 8))]
    drawn = [np.asarray(render.pixels, np.float64) for render in collage.render(asked)]
    pictures = ((drawn[i % len(drawn)] + _noise(rng, side)).clip(0, 255).astype(np.uint8) for i in range(count))
    return [encode(picture, "jpg", quality) for picture in pictures]


def _meta(index: int, side: int, quality: int) -> SampleMeta:
    return SampleMeta(
        caption_id=caption_id(_JOB, index),
        caption=f"thing {index}",
        concept=f"thing {index % 16}",
        kind=ConceptKind.OBJECT,
        template="c",
        second=None,
        seeds=tuple(range(VIEWS)),
        renderer="collage",
        model=None,
        revision=None,
        sampler=None,
        steps=None,
        guidance=None,
        render_size=side,
        size=side,
        image_format="jpg",
        quality=quality,
    )


def groups(files: list[bytes], captions: int) -> Iterator[list[bytes]]:
    """The files of each caption."""
    for index in range(captions):
        yield [files[(index * VIEWS + k) % len(files)] for k in range(VIEWS)]


def write_job(store: ObjectStore, files: list[bytes], captions: int, side: int, quality: int) -> DatasetRef:
    """Shards, commits, manifest and end of a job of so many captions."""
    lines, all_groups = [], list(groups(files, captions))
    for unit, start in enumerate(range(0, captions, PER_SHARD)):
        writer = ShardWriter()
        for index in range(start, min(start + PER_SHARD, captions)):
            writer.add(index, all_groups[index], _meta(index, side, quality))
        shard = writer.finish()
        ref = ShardRef(key=layout.shard(_JOB, unit, shard.sha256), sha256=shard.sha256, size=len(shard.data))
        store.put(ref.key, shard.data)
        commit = Commit(
            job=_JOB,
            unit=unit,
            attempt=_TOKEN,
            worker="bench",
            committed_at=utc_now(),
            shard=ref,
            groups=shard.groups,
            captions_sha256=hashlib.sha256(b"").hexdigest(),
        )
        store.create(layout.commit(_JOB, unit), commit.to_bytes())
        lines.append(
            ManifestLine(unit=unit, status="committed", shard=ref, groups=len(shard.groups), images=commit.images)
        )
    data, key = write_part(lines), layout.manifest_part(_JOB, 1, 0)
    store.put(key, data)
    part = ManifestPart(key=key, sha256=hashlib.sha256(data).hexdigest(), units=len(lines), groups=captions)
    ended = Ended(
        job=_JOB,
        generation=1,
        state=JobState.COMPLETED,
        planned=captions,
        counts=Counts(captions=captions, images=captions * VIEWS, units_committed=len(lines)),
        parts=(part,),
        manifest_sha256=manifest_hash([part]),
        ended_at=utc_now(),
    )
    store.create(layout.ended(_JOB, 1), ended.to_bytes())
    return DatasetRef(job=_JOB, generation=1, manifest_sha256=ended.manifest_sha256)


def write_files(folder: Path, files: list[bytes], captions: int) -> None:
    """``<k>/<caption>.jpg``, a folder for each image of a caption: what the method's release reads."""
    for k in range(VIEWS):
        (folder / str(k)).mkdir(parents=True, exist_ok=True)
    for index, group in enumerate(groups(files, captions)):
        for k, data in enumerate(group):
            (folder / str(k) / f"{index:06d}.jpg").write_bytes(data)
