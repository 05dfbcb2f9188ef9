"""Changes of the weights by which a run mixes its jobs: what was asked last, and where streams stand when it holds."""

from __future__ import annotations

from collections.abc import Sequence

from synfarm.contracts import layout
from synfarm.contracts.mixing import MixChange
from synfarm.contracts.segments import RunSegment, SegmentStream
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.data.mixture import Shares
from synfarm_trainer.foreign import ours

__all__ = ["changes_of", "newest_change", "reweighed"]


def changes_of(store: ObjectStore, run: str, told: set[str] | None = None) -> list[int]:
    """Numbers of all changes of the run, rising.

    Args:
        told: as :func:`ours` takes it.
    """
    listed = store.list(layout.mix_changes_prefix(run))
    return sorted(number for _, number in ours(listed, layout.parse_mix_change, told))


def newest_change(store: ObjectStore, run: str) -> MixChange | None:
    """The change that holds from the next start on."""
    numbers = changes_of(store, run)
    return MixChange.from_bytes(store.get(layout.mix_change(run, numbers[-1]))) if numbers else None


def reweighed(before: RunSegment, position: int, weights: Sequence[int]) -> tuple[SegmentStream, ...]:
    """The streams of ``before`` as they stand at ``position``, with other weights; no data is needed for it.

    Args:
        position: of the run's sequence, at or behind the one at which ``before`` begins.
    """
    shares = Shares(tuple(stream.weight for stream in before.streams))
    found = []
    for number, (stream, weight) in enumerate(zip(before.streams, weights, strict=True)):
        had = stream.offset + shares.count(number, position - before.position)
        epochs, offset = divmod(had, stream.groups)
        changed = {"weight": weight, "epoch": stream.epoch + epochs, "offset": offset}
        found.append(stream.model_copy(update=changed))
    return tuple(found)
