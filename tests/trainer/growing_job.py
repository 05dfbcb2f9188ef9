"""A job that is rendered part by part in front of a run that follows it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from synfarm.contracts import layout
from synfarm.contracts.manifests import Ended, ManifestLine, ManifestPart, manifest_hash, read_part, write_part
from synfarm.contracts.runs import DatasetRef
from synfarm.storage.columns_file import read_columns, recall_columns, write_columns
from synfarm.storage.group_columns import UnitColumns, join_units, split_units
from synfarm.storage.manifest_reader import open_hash
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectStore

__all__ = ["GrowingJob"]


@dataclass
class GrowingJob:
    """Units and commits are all there from the beginning; what a reader knows of them are the parts."""

    store: ObjectStore
    job: str
    lines: list[ManifestLine]
    ended: Ended
    units: dict[int, UnitColumns]
    units_per_part: int = 2
    parts: list[ManifestPart] = field(default_factory=list)

    @classmethod
    def write(
        cls,
        store: ObjectStore,
        write_dataset: Callable[..., DatasetRef],
        job: str,
        *,
        units_per_part: int = 2,
        **sizes: int,
    ) -> GrowingJob:
        whole = MemoryStore()
        write_dataset(whole, job=job, columns=True, **sizes)
        for info in whole.list(layout.job_prefix(job)):
            if "/shards/" in info.key or "/commits/" in info.key:
                store.put(info.key, whole.get(info.key))
        lines = read_part(whole.get(layout.manifest_part(job, 1, 0)))
        ended = Ended.from_bytes(whole.get(layout.ended(job, 1)))
        assert ended.parts[0].columns is not None
        units = split_units(read_columns(whole, ended.parts[0].columns)[0])
        return cls(store, job, lines, ended, units, units_per_part)

    def grow(self, parts: int = 1, *, columns: bool = True) -> None:
        """Write so many more parts; the columns of all but the last in any case."""
        for left in reversed(range(parts)):
            begin = len(self.parts) * self.units_per_part
            lines = self.lines[begin : begin + self.units_per_part]
            key, data = layout.manifest_part(self.job, 1, len(self.parts)), write_part(lines)
            self.store.put(key, data)
            groups = sum(line.groups for line in lines)
            sha256 = hashlib.sha256(data).hexdigest()
            self.parts.append(ManifestPart(key=key, sha256=sha256, units=len(lines), groups=groups))
            if columns or left:
                self.add_columns()

    def add_columns(self) -> None:
        """Of the last part."""
        number = len(self.parts) - 1
        units = (line.unit for line in read_part(self.store.get(self.parts[number].key)))
        key = layout.manifest_columns(self.job, 1, number)
        self.store.put(key, write_columns(join_units(self.units[unit] for unit in units))[0])
        told = {"columns": recall_columns(self.store, key)}
        self.parts[number] = self.parts[number].model_copy(update=told)

    def end(self) -> None:
        """Write what is left, and the end record."""
        self.grow(-(-len(self.lines) // self.units_per_part) - len(self.parts))
        named = {"parts": tuple(self.parts), "manifest_sha256": manifest_hash(self.parts)}
        self.store.create(layout.ended(self.job, 1), self.ended.model_copy(update=named).to_bytes())

    @property
    def ref(self) -> DatasetRef:
        """As a run freezes it now."""
        open_parts = None if self.store.head(layout.ended(self.job, 1)) else len(self.parts)
        found = open_hash(self.parts) if open_parts else manifest_hash(self.parts)
        return DatasetRef(job=self.job, generation=1, manifest_sha256=found, parts=open_parts)
