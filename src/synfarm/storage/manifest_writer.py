"""Writes the parts of a manifest and their columns, create-only: who comes second takes what is there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from synfarm.contracts import layout
from synfarm.contracts.columns import ColumnsRef
from synfarm.contracts.manifests import ManifestLine, ManifestPart, read_part, write_part
from synfarm.storage.columns_file import recall_columns, write_columns
from synfarm.storage.group_columns import UnitColumns, join_units
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger

__all__ = ["create_part", "recall_part"]

_log = get_logger(__name__)


def create_part(
    store: ObjectStore,
    job: str,
    generation: int,
    number: int,
    lines: Sequence[ManifestLine],
    columns: Mapping[int, UnitColumns] = MappingProxyType({}),
) -> ManifestPart:
    """Write a part, then its columns; if another feeder has written either, that one counts.

    Args:
        columns: of every unit with a shard. If one is missing the part stays without columns, and its readers read
            commits.
    """
    key, data = layout.manifest_part(job, generation, number), write_part(lines)
    if not store.create(key, data, content_type="application/jsonl"):
        data = store.get(key)
    part = _describe(key, data)
    units = [line.unit for line in read_part(data) if line.shard is not None]
    if missing := [unit for unit in units if unit not in columns]:
        _log.warning("part_without_columns", job=job, part=number, units=missing[:8])
        return part
    key = layout.manifest_columns(job, generation, number)
    data, header = write_columns(join_units(columns[unit] for unit in units))
    if not store.create(key, data, content_type="application/octet-stream"):
        return part.model_copy(update={"columns": recall_columns(store, key)})
    digest = hashlib.sha256(data[:header]).hexdigest()
    ref = ColumnsRef(key=key, sha256=digest, header_bytes=header, size=len(data))
    return part.model_copy(update={"columns": ref})


def recall_part(store: ObjectStore, job: str, generation: int, number: int) -> ManifestPart:
    """A part that an earlier leader wrote, and its columns if there are any."""
    key = layout.manifest_part(job, generation, number)
    columns = recall_columns(store, layout.manifest_columns(job, generation, number))
    return _describe(key, store.get(key)).model_copy(update={"columns": columns})


def _describe(key: str, data: bytes) -> ManifestPart:
    lines = read_part(data)
    groups = sum(line.groups for line in lines)
    return ManifestPart(key=key, sha256=hashlib.sha256(data).hexdigest(), units=len(lines), groups=groups)
