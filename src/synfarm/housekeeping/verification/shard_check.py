"""A whole shard against its commit: the hash, the rows, the members, every image, every sample's JSON."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.commits import GroupRow, SampleMeta, ShardRef
from synfarm.contracts.housekeeping import Fault
from synfarm.contracts.jobs import RenderSettings
from synfarm.housekeeping.verification.image_check import image_fault
from synfarm.storage.protocol import StoreDamaged
from synfarm.storage.shard_reader import Group, open_group
from synfarm.storage.tar_members import TarDamaged, tar_members

__all__ = ["Wrong", "shard_faults"]

_NAMED = 3
"""Captions named in a sentence; the others are counted."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A fault of the shard, in words."""

    fault: Fault
    what: str


def shard_faults(
    data: bytes,
    shard: ShardRef,
    rows: Sequence[GroupRow],
    render: RenderSettings,
    records: Mapping[int, CaptionRecord] | None,
    *,
    all_rows: bool,
    square: bool = True,
) -> Iterator[Wrong]:
    """Everything that is wrong with the bytes of a shard; damage of the whole is told once, not by each of its parts.

    Args:
        rows: those of the commit that are as the plan says.
        records: caption records by index; None: they cannot be believed.
        all_rows: ``rows`` are all of the commit, so that the tar must hold nothing else.
        square: as :func:`image_fault`; imported images are of any shape.
    """
    groups: list[Group] = []
    damaged: list[str] = []
    for row in rows:
        try:
            groups.append(open_group(data, row))
        except StoreDamaged:
            damaged.append(row.caption_id)
    if (changed := _changed(data, shard)) is not None:
        share = f"; damaged are {len(damaged)} of {len(rows)} captions: {_some(damaged)}" if damaged else ""
        yield Wrong(Fault.SHARD_CHANGED, changed + share)
    elif damaged:
        yield Wrong(Fault.SHARD_DISAGREES, f"the tar is whole, but its rows do not fit: {_some(damaged)}")
    elif all_rows and (order := _members_fault(data, rows)) is not None:
        yield Wrong(Fault.SHARD_DISAGREES, order)
        return
    for group in groups:
        record = None if records is None else records.get(group.row.index)
        yield from _group_faults(group, render, record, square=square)


def _changed(data: bytes, shard: ShardRef) -> str | None:
    if len(data) < shard.size:
        return f"cut: {len(data)} of {shard.size} bytes are there"
    if len(data) > shard.size:
        return f"{len(data)} bytes in place of {shard.size}"
    found = hashlib.sha256(data).hexdigest()
    return f"its sha256 is {found[:12]}…, committed was {shard.sha256[:12]}…" if found != shard.sha256 else None


def _members_fault(data: bytes, rows: Sequence[GroupRow]) -> str | None:
    """Whether the tar, as any tar tool sees it, holds the members of the rows and nothing else, in their order."""
    odd: list[str] = []
    try:
        members = tar_members(io.BytesIO(data), lambda name, why: odd.append(f"{name[:200]!r} {why}"), folders=True)
        found = [(member.name, member.offset, member.size) for member in members]
    except TarDamaged as error:
        return f"no tar: {error}"
    if odd:
        return f"in the tar {odd[0]}"
    told = [(member.name, member.offset, member.length) for row in rows for member in row.members]
    if found == told:
        return None
    for one, other in zip(found, told, strict=False):
        if one != other:
            return f"the tar has {one[0]} at {one[1]} where the commit has {other[0]} at {other[1]}"
    return f"the tar has {len(found)} members, the commit {len(told)}"


def _group_faults(
    group: Group, render: RenderSettings, record: CaptionRecord | None, *, square: bool
) -> Iterator[Wrong]:
    for member, image in zip(group.row.members, group.images, strict=False):
        if (what := image_fault(image, render.image_format, render.size, square=square)) is not None:
            yield Wrong(Fault.IMAGE_BROKEN, f"{member.name}: {what}")
    name = group.row.members[-1].name
    try:
        meta = group.meta()
    except StoreDamaged as error:
        yield Wrong(Fault.META_WRONG, str(error))
        return
    if (what := _meta_fault(meta, group.row, render, record)) is not None:
        yield Wrong(Fault.META_WRONG, f"{name}: {what}")


def _meta_fault(meta: SampleMeta, row: GroupRow, render: RenderSettings, record: CaptionRecord | None) -> str | None:
    """The first field that is not what row, job or caption say."""
    pairs: list[tuple[str, object, object, str]] = [
        (name, getattr(meta, name), getattr(row, name), "the commit's row")
        for name in ("caption_id", "concept", "kind", "template")
    ]
    pairs += [(name, getattr(meta, name), getattr(render, name), "the job") for name in ("size", "image_format")]
    pairs.append(("seeds", len(meta.seeds), len(row.members) - 1, "the commit's row"))
    if record is not None:
        pairs.append(("caption", meta.caption, record.text, "the caption record"))
        pairs += [
            (name, getattr(meta, name), getattr(record, name), "the caption record")
            for name in ("concept", "kind", "template", "second")
        ]
    for name, mine, other, source in pairs:
        if mine != other:
            return f"{name} is {str(mine)[:80]!r}, in {source} {str(other)[:80]!r}"
    return None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
