"""Making a job: idempotency record, frozen spec, ``active/`` entry, in this order, so that a replay completes it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.ids import MAX_UNIT
from synfarm.contracts.jobs import Concept, JobRequest, JobSpec
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.recipes import Recipe
from synfarm.contracts.tries import TryRequest
from synfarm.contracts.views import JobPlan
from synfarm.idempotency import claim, recall
from synfarm.planning.shard_bytes import estimated_bytes
from synfarm.planning.unit_size import default_unit_size
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm.tracing import Tracing
from synfarm_caption_api.origin import Origin, Origins
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.library import Library
from synfarm_caption_api.prompts.pools import Pools
from synfarm_caption_api.prompts.recipe_making import RecipeMaker
from synfarm_caption_api.prompts.shipped import ShippedLibrary
from synfarm_caption_api.prompts.sources import moved_shares
from synfarm_caption_api.recipe_shelf import RecipeShelf

__all__ = ["Submission", "Submitter", "Trial"]

ROUTE = "POST /v1/jobs"
_NO_JOB = "0" * 26
_PLAN_PROMPTS = 3
_LOOKED_AT = 4096
"""Captions among which a plan looks for a prompt of each kind: some tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that exists, and whether this request made it."""

    spec: JobSpec
    created: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """What a try asks of the language model."""

    spec: JobSpec
    drawer: Drawer
    notes: tuple[str, ...]
    """As a plan has them."""


class Submitter:
    """Takes job requests; thread-safe. Costs a few small writes, whatever the size of the job."""

    def __init__(
        self,
        store: ObjectStore,
        vocabulary: Sequence[Concept],
        pools: Pools,
        library: Library | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """``library``: the concept sets that all owners share, by default those that ship."""
        self._store, self._pools, self._tracing = store, pools, tracing or Tracing()
        shipped = library or ShippedLibrary()
        self._recipes = RecipeMaker(shipped, pools)
        self._origins = Origins(store, vocabulary, self._recipes, shipped)
        self._shelf = RecipeShelf(store)

    def warm(self) -> None:
        """Make ready what the first job would wait for; may run in a thread of its own."""
        self._recipes.warm()

    def submit(self, request: JobRequest, owner: str, key: str | None = None) -> Submission:
        """Make the job, or find the one that this key has made.

        Raises:
            ProblemError: 422, what is asked for does not exist or cannot be drawn, or the key is malformed; 409, the
                key stands for another body.
            StoreError: the store is away; send the same request with the same key again.
        """
        began = time.time()
        try:
            origin = self._origins.settle(request, owner)
        except ProblemError:
            # What it names may be gone since: a set is deleted, and the answer that was lost is asked for again.
            spec = None if key is None else self._made_before(request, owner, key)
            if spec is None:
                raise
            return self._complete(spec, request, created=False)
        job, at = str(ULID()).lower(), utc_now()
        if key is not None:
            record = claim(self._store, owner=owner, route=ROUTE, key=key, body=request.to_bytes(), new_id=job)
            if record.id != job and self._store.head(layout.tombstone(record.id)) is not None:
                raise ProblemError(
                    409,
                    "job_deleted",
                    f"This Idempotency-Key made the job {record.id}, which was deleted.",
                    field="Idempotency-Key",
                    hint="Send a new key to make the job again.",
                )
            job, at = record.id, record.at
        spec = _freeze(request, origin, owner, job, at)
        if origin.made is not None:
            self._shelf.put(origin.made)
        created = self._store.head(layout.job(spec.job)) is None
        if not self._store.create(layout.job(spec.job), spec.to_bytes()):
            # Made before by the same key, perhaps by an older version with other defaults: what is frozen counts.
            spec = JobSpec.from_bytes(self._store.get(layout.job(spec.job)))
        made = self._complete(spec, request, created=created)
        if created:
            self._tracing.job_made(spec.job, began)
        return made

    def _made_before(self, request: JobRequest, owner: str, key: str) -> JobSpec | None:
        """The job that this key and body have made, if it is there."""
        record = recall(self._store, owner=owner, route=ROUTE, key=key)
        if record is None or record.body_sha256 != hashlib.sha256(request.to_bytes()).hexdigest():
            return None
        if self._store.head(layout.tombstone(record.id)) is not None:
            return None
        try:
            return JobSpec.from_bytes(self._store.get(layout.job(record.id)))
        except ObjectMissing:
            return None

    def _complete(self, spec: JobSpec, request: JobRequest, *, created: bool) -> Submission:
        """What follows the frozen spec."""
        if request.webhook is not None:
            self._store.create(layout.webhook(spec.job), request.webhook.to_bytes())
        # A replay long after the end must not wake the job up.
        if next(self._store.list(layout.ended_prefix(spec.job), limit=1), None) is None:
            self._store.create(layout.active(spec.job), b"{}")
        return Submission(spec, created)

    def plan(self, request: JobRequest, owner: str) -> JobPlan:
        """What the job would be; nothing is written.

        Raises:
            ProblemError: as ``submit``.
        """
        origin = self._origins.settle(request, owner)
        spec = _freeze(request, origin, owner, str(ULID()).lower(), utc_now())
        return JobPlan(
            spec=spec,
            units=spec.units,
            images=spec.captions * spec.images_per_caption,
            prompts=self._prompts(spec, origin.made.recipe if origin.made is not None else None),
            capability=spec.render.capability,
            estimated_bytes=estimated_bytes(spec),
            notes=() if origin.made is None else moved_shares(origin.made.recipe.sources),
        )

    def trial(self, request: TryRequest, owner: str) -> Trial:
        """The first captions of a job that is never made; nothing is written.

        Raises:
            ProblemError: as ``submit``, but for what a renderer cannot draw; or no prompt is asked for.
        """
        job = request.as_job()
        origin = self._origins.settle(job, owner, drawn=False)
        recipe = origin.made.recipe if origin.made is not None else None
        if recipe is not None and not recipe.asks:
            detail = f"Captions of variant {recipe.name!r} are joined words: no language model is asked for them."
            hint = "Make a job of it: its captions are written at once; or try another variant."
            raise ProblemError(422, "nothing_to_try", detail, field="variant", hint=hint)
        spec = _freeze(job, origin, owner, _NO_JOB, utc_now())
        notes = () if recipe is None else moved_shares(recipe.sources)
        return Trial(spec, Drawer(spec, self._pools, recipe), notes)

    def _prompts(self, spec: JobSpec, recipe: Recipe | None) -> tuple[str, ...]:
        if spec.captions_from is not None or (recipe is not None and not recipe.asks):
            return ()
        drawer = Drawer(spec, self._pools, recipe)
        if recipe is None:
            return tuple(drawer.draw(i).prompt for i in range(min(_PLAN_PROMPTS, spec.captions)))
        return tuple(drawer.draw(i).prompt for i in drawer.one_of_each(min(spec.captions, _LOOKED_AT)))


def _freeze(request: JobRequest, origin: Origin, owner: str, job: str, at: datetime) -> JobSpec:
    body = {name: getattr(request, name) for name in JobRequest.model_fields if name in JobSpec.model_fields}
    body["captions_per_unit"] = request.captions_per_unit or default_unit_size(request)
    for name in ("concepts", "captions_from"):
        body.pop(name)
    spec = JobSpec(**{**body, **origin.fields}, job=job, owner=owner, created_at=at)
    if spec.units > MAX_UNIT:
        raise ProblemError(
            422,
            "too_many_units",
            f"Units of {spec.captions_per_unit} make {spec.units} of them; a job has at most {MAX_UNIT}.",
            field="captions_per_unit",
            hint="Leave captions_per_unit out, or make it larger.",
        )
    return spec
