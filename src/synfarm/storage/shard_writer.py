"""Writes a unit's images as a plain WebDataset tar whose bytes depend on nothing but its content."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synfarm.contracts.commits import GroupRow, Member, SampleMeta

__all__ = ["Shard", "ShardWriter"]


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished tar and what the commit says of it."""

    data: bytes
    sha256: str
    groups: tuple[GroupRow, ...]


class ShardWriter:
    """Collects caption groups in order of their index, in memory (a unit is some 50 to 300 MB at most).

    USTAR headers with a fixed time, owner and mode: the same groups give the same bytes on every machine, so that the
    hash in the shard's name tells equal work from different work.
    """

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self._groups: list[GroupRow] = []

    def _member(self, name: str, data: bytes) -> Member:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mtime = 0
        info.mode = 0o644
        start = self._buffer.tell()
        self._tar.addfile(info, io.BytesIO(data))
        return Member(name=name, offset=start + tarfile.BLOCKSIZE, length=len(data))

    def add(
        self, index: int, images: Sequence[bytes], meta: SampleMeta, *, scores: Mapping[str, float] | None = None
    ) -> GroupRow:
        """Append one caption group: ``<caption_id>.<k>.<format>`` for each encoded image, then ``<caption_id>.json``.

        Args:
            index: the caption's index in the job; rises from group to group.
            images: encoded files in order of ``k``, in the format that ``meta`` names.

        Raises:
            ValueError: the index does not rise, or there are no images, or not one seed for each.
        """
        if self._groups and index <= self._groups[-1].index:
            raise ValueError(f"groups must come in order of their index: {index} after {self._groups[-1].index}")
        if not images or len(images) != len(meta.seeds):
            raise ValueError(f"{meta.caption_id}: {len(images)} images for {len(meta.seeds)} seeds")
        start = self._buffer.tell()
        members = [self._member(f"{meta.caption_id}.{k}.{meta.image_format}", image) for k, image in enumerate(images)]
        members.append(self._member(f"{meta.caption_id}.json", meta.to_bytes()))
        end = self._buffer.tell()
        row = GroupRow(
            index=index,
            caption_id=meta.caption_id,
            concept=meta.concept,
            template=meta.template,
            kind=meta.kind,
            offset=start,
            length=end - start,
            sha256=hashlib.sha256(self._buffer.getbuffer()[start:end]).hexdigest(),
            members=tuple(members),
            scores=dict(scores or {}),
        )
        self._groups.append(row)
        return row

    def finish(self) -> Shard:
        """Close the tar; the writer cannot be used again.

        Raises:
            ValueError: no group was added: a unit without images has no shard.
        """
        if not self._groups:
            raise ValueError("a shard without groups is not written: commit the unit with shard=None")
        self._tar.close()
        data = self._buffer.getvalue()
        self._buffer.close()
        return Shard(data, hashlib.sha256(data).hexdigest(), tuple(self._groups))
