"""Which tars the manifests of a job name: those of its last generation, and those that a pinned run reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.manifests import ManifestLine
from synfarm.contracts.runs import RunSpec
from synfarm.housekeeping.job_record import JobRecord
from synfarm.storage.manifest_reader import proven_lines, read_ended
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["NeededTars"]


class NeededTars:
    """Asked for units in their order, it reads each manifest once and holds one part of it in memory."""

    def __init__(self, store: ObjectStore, record: JobRecord) -> None:
        """Which generations are needed, is read now; their lines later.

        Raises:
            StoreUnavailable, StoreRefused: the store is away.
        """
        self._store, self._job = store, record.spec.job
        all_keys = set(record.ended_keys)
        newest = layout.ended(self._job, record.generation)
        keys = self._pinned(all_keys) | ({newest} if newest in all_keys else set())
        self._cursors = [_Cursor(self._lines(key)) for key in sorted(keys)]

    def names(self, unit: int, key: str) -> bool:
        """Whether a needed manifest has this tar for the unit. Units must come in rising order.

        Raises:
            ManifestDamaged: one cannot be read, so that nobody knows.
        """
        return any(cursor.names(unit, key) for cursor in self._cursors)

    def _pinned(self, all_keys: set[str]) -> set[str]:
        """End records of the generations that pinned runs read; of a run that cannot be read, all."""
        found: set[str] = set()
        for info in self._store.list(layout.pins_prefix(self._job)):
            try:
                spec = RunSpec.from_bytes(self._store.get(layout.run(layout.parse_pin(info.key))))
            except (ObjectMissing, ValidationError, ValueError):
                return all_keys
            for ref in spec.datasets:
                key = layout.ended(self._job, ref.generation)
                # A generation that a run follows may not have ended: its tars are those that the commits name.
                if ref.job == self._job and (ref.parts is None or key in all_keys):
                    found.add(key)
        return found

    def _lines(self, key: str) -> Iterator[ManifestLine]:
        yield from proven_lines(self._store, read_ended(self._store, key))


class _Cursor:
    def __init__(self, lines: Iterable[ManifestLine]) -> None:
        self._lines = iter(lines)
        self._line: ManifestLine | None = None
        self._begun = False

    def names(self, unit: int, key: str) -> bool:
        while not self._begun or (self._line is not None and self._line.unit < unit):
            self._line, self._begun = next(self._lines, None), True
        line = self._line
        return line is not None and line.unit == unit and line.shard is not None and line.shard.key == key
