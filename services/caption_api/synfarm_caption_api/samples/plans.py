"""The concept plans of the jobs that are looked at: one of a large recipe takes tens of milliseconds to make ready."""

from __future__ import annotations

import threading
from collections import OrderedDict

from synfarm.contracts.jobs import JobSpec
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.prompts.concept_plan import ConceptPlan
from synfarm_caption_api.recipe_shelf import RecipeShelf

__all__ = ["Plans"]


class Plans:
    """The last few plans by job; thread-safe: what decides a concept never changes in a job's life."""

    def __init__(self, store: ObjectStore, *, size: int = 16) -> None:
        self._recipes, self._size = RecipeShelf(store, size=4), size
        self._plans: OrderedDict[str, ConceptPlan] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, spec: JobSpec) -> ConceptPlan:
        """The job's plan.

        Raises:
            ObjectMissing, StoreError: its recipe cannot be read.
        """
        with self._lock:
            found = self._plans.get(spec.job)
        if found is None:
            found = ConceptPlan(spec, self._recipes.get(spec.recipe))
        with self._lock:
            self._plans[spec.job] = found
            self._plans.move_to_end(spec.job)
            while len(self._plans) > self._size:
                self._plans.popitem(last=False)
        return found
