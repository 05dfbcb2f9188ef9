"""Packs a unit's encoded images into its shard, each caption with the JSON that can redraw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.commits import SampleMeta
from synfarm.contracts.jobs import JobSpec
from synfarm.storage.shard_writer import Shard, ShardWriter
from synfarm_render_worker.drawing import EncodedImage
from synfarm_render_worker.renderer import Renderer
from synfarm_render_worker.scoring.scorer import row_scores

__all__ = ["DrawnBy", "pack"]


@dataclass(frozen=True, slots=True)
class DrawnBy:
    """What the shard says of the renderer; kept apart from it, so that a packed unit keeps no model in memory."""

    name: str
    model: str | None
    revision: str | None
    versions: Mapping[str, str]

    @classmethod
    def of(cls, renderer: Renderer) -> Self:
        return cls(renderer.name, renderer.model, renderer.revision, dict(renderer.versions))


def pack(
    spec: JobSpec, records: Sequence[CaptionRecord], images: Sequence[Sequence[EncodedImage]], drawn_by: DrawnBy
) -> Shard:
    """The shard of a unit. Its bytes hold no time, host or attempt: drawn again, it has the same name."""
    writer = ShardWriter()
    for record, drawn in zip(records, images, strict=True):
        meta = _meta(spec, record, drawn, drawn_by)
        scores = {**record.scores, **row_scores([image.scores for image in drawn])}
        writer.add(record.index, [image.data for image in drawn], meta, scores=scores)
    return writer.finish()


def _meta(spec: JobSpec, record: CaptionRecord, drawn: Sequence[EncodedImage], drawn_by: DrawnBy) -> SampleMeta:
    render, diffusion = spec.render, spec.render.renderer == "diffusers"
    return SampleMeta(
        caption_id=record.caption_id,
        caption=record.text or "",
        concept=record.concept,
        kind=record.kind,
        template=record.template,
        second=record.second,
        seeds=tuple(image.seed for image in drawn),
        renderer=drawn_by.name,
        model=drawn_by.model,
        revision=drawn_by.revision,
        sampler=render.sampler if diffusion else None,
        steps=render.steps if diffusion else None,
        guidance=render.guidance if diffusion else None,
        guidance_until=render.guidance_until if diffusion and render.guidance_until < 1 else None,
        lora=render.lora,
        render_size=(render.render_size or render.size) if diffusion else render.size,
        size=render.size,
        image_format=render.image_format,
        quality=render.quality,
        scenes=tuple(image.scene for image in drawn if image.scene is not None),
        versions=dict(drawn_by.versions),
    )
