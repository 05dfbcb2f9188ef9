"""One tar of an export: which units it holds, how it is written, and how one that is there already is proven."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit, ShardRef
from synfarm.contracts.housekeeping import ExportedTar
from synfarm.contracts.manifests import ManifestLine
from synfarm.housekeeping.exporting.destination import Destination
from synfarm.storage.protocol import ObjectStore, StoreDamaged
from synfarm.storage.shard_reader import fetch_shard
from synfarm.storage.tar_members import TarDamaged, tar_members

__all__ = ["Bundle", "bundles", "prove", "write"]

_END = 2 * tarfile.BLOCKSIZE
"""Zeros that end a tar, before it is filled up to whole records."""
_CHUNK = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Bundle:
    """The units of one tar, in manifest order."""

    name: str
    job: str
    lines: tuple[ManifestLine, ...]
    merged: bool
    """False: the tar is the unit's own, byte for byte."""

    @property
    def shards(self) -> list[tuple[int, ShardRef]]:
        return [(line.unit, line.shard) for line in self.lines if line.shard is not None]

    def described(self, sha256: str, size: int) -> ExportedTar:
        """The tar in the index."""
        return ExportedTar(
            name=self.name,
            sha256=sha256,
            size=size,
            units=tuple(line.unit for line in self.lines),
            captions=sum(line.groups for line in self.lines),
            images=sum(line.images for line in self.lines),
        )


def bundles(job: str, lines: Iterable[ManifestLine], shard_bytes: int | None) -> Iterator[Bundle]:
    """Tars of an export, a pure function of the manifest: an export that goes on makes the same ones.

    Units stay whole: one that is larger than ``shard_bytes`` has a tar of its own.
    """
    held: list[ManifestLine] = []
    size = number = 0

    def made() -> Bundle:
        return Bundle(f"{job}-{number:06d}.tar", job, tuple(held), shard_bytes is not None)

    for line in lines:
        if line.shard is None:
            continue
        if held and (shard_bytes is None or size + line.shard.size > shard_bytes):
            yield made()
            held, size, number = [], 0, number + 1
        held.append(line)
        size += line.shard.size
    if held:
        yield made()


def write(store: ObjectStore, bundle: Bundle, destination: Destination) -> ExportedTar:
    """Write the tar from shards that are proven against the manifest; one of them is in memory at a time.

    Raises:
        ObjectMissing, StoreDamaged: a shard is not what was committed; nothing is written.
        DestinationFailed, OSError, StoreUnavailable: the destination, or the store, does not take part.
    """
    digest = hashlib.sha256()
    size = 0

    def add(file: BinaryIO, data: bytes | memoryview) -> None:
        nonlocal size
        file.write(data)
        digest.update(data)
        size += len(data)

    with destination.writing(bundle.name) as file:
        for _, shard in bundle.shards:
            data = fetch_shard(store, shard)
            add(file, memoryview(data)[: _content_end(data, shard.key)] if bundle.merged else data)
        if bundle.merged:
            add(file, bytes(_padding(size)))
    return bundle.described(digest.hexdigest(), size)


def prove(store: ObjectStore, bundle: Bundle, destination: Destination) -> ExportedTar | None:
    """The tar if the destination has it, whole and of the right bytes, read from its first byte to its last."""
    there = destination.size(bundle.name)
    if there is None:
        return None
    if not bundle.merged:
        ((_, shard),) = bundle.shards
        if there != shard.size or _hash(destination, bundle.name, there) != shard.sha256:
            return None
        return bundle.described(shard.sha256, there)
    return _prove_merged(store, bundle, destination, there)


def _prove_merged(store: ObjectStore, bundle: Bundle, destination: Destination, there: int) -> ExportedTar | None:
    """Each stretch, filled up with the zeros that end a tar, must be a shard as it was committed."""
    digest, at = hashlib.sha256(), 0
    for unit, shard in bundle.shards:
        rows = Commit.from_bytes(store.get(layout.commit(bundle.job, unit))).groups
        length = rows[-1].offset + rows[-1].length
        if at + length > there or length > shard.size:
            return None
        stretch = destination.read(bundle.name, at, length)
        own = hashlib.sha256(stretch)
        own.update(bytes(shard.size - length))
        if own.hexdigest() != shard.sha256:
            return None
        digest.update(stretch)
        at += length
    rest = _padding(at)
    if there != at + rest or destination.read(bundle.name, at, rest) != bytes(rest):
        return None
    digest.update(bytes(rest))
    return bundle.described(digest.hexdigest(), there)


def _hash(destination: Destination, name: str, size: int) -> str:
    digest = hashlib.sha256()
    for at in range(0, size, _CHUNK):
        digest.update(destination.read(name, at, min(_CHUNK, size - at)))
    return digest.hexdigest()


def _content_end(data: bytes, key: str) -> int:
    """Bytes of a tar before the zeros that end it.

    Raises:
        StoreDamaged: it is none.
    """
    end = 0
    try:
        for member in tar_members(io.BytesIO(data)):
            end = member.offset - (-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except TarDamaged as error:
        raise StoreDamaged(f"{key}: no tar: {error}") from error
    return end


def _padding(size: int) -> int:
    """Zeros behind ``size`` bytes of members, as tarfile writes them."""
    return _END + -(size + _END) % tarfile.RECORDSIZE
