"""A job that is rendered part by part in front of a run that follows it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from synfarm.contracts import layout
from synfarm.contracts.manifests import Ended, ManifestLine, ManifestPart, manifest_hash, read_part, write_part
from synfarm.contracts.runs import DatasetRef
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
        write_dataset(whole, job=job, **sizes)
        for info in whole.list(layout.job_prefix(job)):
            if "/shards/" in info.key or "/commits/" in info.key:
                store.put(info.key, whole.get(info.key))
        lines = read_part(whole.get(layout.manifest_part(job, 1, 0)))
        return cls(store, job, lines, Ended.from_bytes(whole.get(layout.ended(job, 1))), units_per_part)

    def grow(self, parts: int = 1) -> None:
        """Write so many more parts."""
        for _ in range(parts):
            begin = len(self.parts) * self.units_per_part
            lines = self.lines[begin : begin + self.units_per_part]
            key, data = layout.manifest_part(self.job, 1, len(self.parts)), write_part(lines)
            self.store.put(key, data)
            groups = sum(line.groups for line in lines)
            sha256 = hashlib.sha256(data).hexdigest()
            self.parts.append(ManifestPart(key=key, sha256=sha256, units=len(lines), groups=groups))

    def end(self) -> None:
        """Write what is left, and the end record."""
        self.grow(-(-len(self.lines) // self.units_per_part) - len(self.parts))
        named = {"parts": tuple(self.parts), "manifest_sha256": manifest_hash(self.parts)}
        self.store.create(layout.ended(self.job, 1), self.ended.model_copy(update=named).to_bytes())

    @property
    def ref(self) -> DatasetRef:
        """As a run freezes it now."""
        open_parts = None if self.store.head(layout.ended(self.job, 1)) else len(self.parts)
        return DatasetRef(job=self.job, generation=1, manifest_sha256=manifest_hash(self.parts), parts=open_parts)
