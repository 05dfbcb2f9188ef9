"""Segments as the store has them, for whoever reads them: the service too, which loads no torch."""

from __future__ import annotations

from typing import Any

from synfarm.contracts import layout
from synfarm.contracts.segments import RunSegment
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.foreign import ours
from synfarm_trainer.patience import patiently

__all__ = ["read_segments", "segment_keys", "told_of"]


def segment_keys(store: ObjectStore, run: str, told: set[str] | None = None) -> list[str]:
    """Keys of all segments of a run, by number.

    Args:
        told: as :func:`ours` takes it.
    """
    listed = store.list(layout.segments_prefix(run))
    return sorted(info.key for info, _ in ours(listed, layout.parse_segment, told))


def read_segments(store: ObjectStore, run: str) -> list[RunSegment]:
    """All segments of a run by number, those that starts said again among them."""
    keys = patiently(segment_keys, store, run)
    return [RunSegment.from_bytes(patiently(store.get, key)) for key in keys]


def told_of(segment: RunSegment) -> dict[str, Any]:
    """Of a segment what a reader of the run's events wants to know."""
    datasets = segment.model_dump(mode="json", include={"datasets": {"__all__": {"job", "generation", "parts"}}})
    weights = [stream.weight for stream in segment.streams]
    mixed = {"weights": weights} if len(weights) > 1 else {}
    return {"segment": segment.number, "position": segment.position, **datasets, **mixed}
