"""What the store holds of units that this feeder has not met in flight yet: one listing in place of requests for each.

After a flush, or for a new leader, any unit within the span may have captions, and nothing but the store tells.
"""

from __future__ import annotations

from collections.abc import Iterable

from synfarm.contracts import layout
from synfarm.contracts.renders import Stage
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.feeder.ledger import units_of

__all__ = ["FirstLook"]


class FirstLook:
    """Bounded by the span. It says of a unit what it needs as long as nobody was sent it.

    What it says may be old by then, and does no harm: an object of captions stays, so *render* is right for ever; and a
    unit whose captions came after the listing, from a worker that nobody knows of, goes to a caption worker that finds
    them and hands it on. A unit that was in flight is another matter: it was captioned since, more often than not.
    """

    def __init__(self, store: ObjectStore, job: str, units: range, met: Iterable[int]) -> None:
        """List the captions of ``units``; those ``met`` are in flight.

        Raises:
            StoreError: the store is away.
        """
        self._units, self._met = units, set[int]()
        self.meet(met)
        after = layout.captions(job, units.start - 1) if units.start else None
        listed = store.list(layout.captions_prefix(job), start_after=after, limit=len(units))
        self._captioned = set(units_of(listed))

    def meet(self, units: Iterable[int]) -> None:
        """These are, or were, in flight."""
        self._met.update(unit for unit in units if unit in self._units)

    def stage_of(self, unit: int) -> Stage | None:
        """What the unit needs, if it is not committed; None: ask the store."""
        if unit not in self._units or unit in self._met:
            return None
        return Stage.RENDER if unit in self._captioned else Stage.CAPTION
