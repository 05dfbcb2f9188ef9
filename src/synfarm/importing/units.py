"""One unit of an import: its images read and stored, its captions, its shard, its commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version

from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import NO_CONCEPT, CaptionRecord, DropReason, write_jsonl
from synfarm.contracts.commits import Commit, EmptySlot, SampleMeta, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.origins import Template
from synfarm.importing.encoding import BadFile, stored
from synfarm.importing.listing import ImportRefused, Item, caption_in
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm.storage.shard_writer import ShardWriter

__all__ = ["IMPORTED", "import_unit"]

IMPORTED = "import"
"""Stands for the renderer in the JSON of a sample."""
_NO_MODEL = "none"
_MOST_SIGNS = 4000
Tell = Callable[[str, str], None]


def import_unit(
    store: ObjectStore, spec: JobSpec, unit: int, items: Sequence[Item], tell: Tell
) -> tuple[Commit, bytes, bool]:
    """The commit of a unit with its bytes, and whether it was made now: one that is there already is left as it is.

    Args:
        items: of the unit, in order.
        tell: (name, what) of a file that is left out, or whose caption is.

    Raises:
        ImportRefused: an interrupted import has begun this unit with files of other bytes.
        OSError: a file cannot be read.
        StoreError: the store is away, or refuses.
    """
    key = layout.commit(spec.job, unit)
    try:
        data = store.get(key)
        return Commit.from_bytes(data), data, False
    except ObjectMissing:
        pass
    commit = _made(store, spec, unit, items, tell)
    data = commit.to_bytes()
    if store.create(key, data):
        return commit, data, True
    data = store.get(key)
    return Commit.from_bytes(data), data, False


def _made(store: ObjectStore, spec: JobSpec, unit: int, items: Sequence[Item], tell: Tell) -> Commit:
    writer, records = ShardWriter(), []
    for index, item in zip(spec.unit_range(unit), items, strict=True):
        try:
            image = stored(item.place.read(), spec.render.image_format, spec.render.size, spec.render.quality)
        except BadFile as error:
            tell(item.name, str(error))
            records.append(_record(spec, index, item, None))
            continue
        record = _record(spec, index, item, _caption(item, tell))
        records.append(record)
        writer.add(index, [image], _meta(spec, record, item))
    jsonl = write_jsonl(records)
    key = layout.captions(spec.job, unit)
    if not store.create(key, jsonl) and store.get(key) != jsonl:
        raise ImportRefused(
            f"unit {unit} was begun with other files: they have changed since the import was interrupted; put them "
            "back, or import them under another --name."
        )
    drawn = [record for record in records if record.text is not None]
    shard = writer.finish() if drawn else None
    ref = None
    if shard is not None:
        ref = ShardRef(key=layout.shard(spec.job, unit, shard.sha256), sha256=shard.sha256, size=len(shard.data))
        store.put(ref.key, shard.data, content_type="application/x-tar")
    return Commit(
        job=spec.job,
        unit=unit,
        attempt=str(ULID()).lower(),
        worker=IMPORTED,
        committed_at=utc_now(),
        shard=ref,
        groups=shard.groups if shard is not None else (),
        empty=tuple(
            EmptySlot(index=record.index, caption_id=record.caption_id, reason=record.empty_reason)
            for record in records
            if record.empty_reason is not None
        ),
        captions_sha256=hashlib.sha256(jsonl).hexdigest(),
        versions={"synfarm": version("synfarm"), "pillow": version("pillow")},
    )


def _caption(item: Item, tell: Tell) -> str:
    """Of the file beside the image, else the name of its class, else nothing."""
    if item.text is not None:
        place, suffix = item.text
        try:
            if found := caption_in(place.read_text(), suffix):
                return found[:_MOST_SIGNS]
        except ValueError as error:
            tell(item.name, f"its caption cannot be read, its class stands in: {error}")
    return item.concept or ""


def _record(spec: JobSpec, index: int, item: Item, text: str | None) -> CaptionRecord:
    return CaptionRecord(
        caption_id=caption_id(spec.job, index),
        index=index,
        concept=item.concept or NO_CONCEPT,
        template=Template.GIVEN,
        text=text,
        empty_reason=DropReason.IMAGE_DAMAGED if text is None else None,
        draws=0,
        llm_seed=0,
        llm_model=_NO_MODEL,
    )


def _meta(spec: JobSpec, record: CaptionRecord, item: Item) -> SampleMeta:
    render = spec.render
    return SampleMeta(
        caption_id=record.caption_id,
        caption=record.text or "",
        concept=record.concept,
        kind=record.kind,
        template=record.template,
        second=None,
        seeds=(0,),
        renderer=IMPORTED,
        model=None,
        revision=None,
        sampler=None,
        steps=None,
        guidance=None,
        render_size=render.size,
        size=render.size,
        image_format=render.image_format,
        quality=render.quality,
        scenes=({"file": item.name},),
    )
