"""The drawers of the jobs in work: one of a large recipe takes tens of milliseconds to make ready."""

from __future__ import annotations

import threading
from collections import OrderedDict

from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.recipes import Recipe
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.pools import Pools

__all__ = ["Drawers"]


class Drawers:
    """The last few drawers by job; thread-safe: nothing that a draw depends on changes in a job's life."""

    def __init__(self, pools: Pools, *, size: int = 16) -> None:
        self._pools, self._size = pools, size
        self._drawers: OrderedDict[str, Drawer] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, spec: JobSpec, recipe: Recipe | None) -> Drawer:
        """The drawer of a job with this recipe, or of a plain list."""
        with self._lock:
            found = self._drawers.get(spec.job)
            if found is None:
                found = self._drawers[spec.job] = Drawer(spec, self._pools, recipe)
            self._drawers.move_to_end(spec.job)
            while len(self._drawers) > self._size:
                self._drawers.popitem(last=False)
            return found
