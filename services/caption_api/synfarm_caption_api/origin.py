"""What a job's captions come from, settled at submission: concepts checked, a recipe made, a file or job looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synfarm.concepts import Lexicon
from synfarm.contracts import layout
from synfarm.contracts.concepts import Concept
from synfarm.contracts.ids import JobId
from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.origins import CaptionJobRef
from synfarm.contracts.problems import ProblemError
from synfarm.queue.specs import read_spec
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm_caption_api.caption_files import CaptionFiles
from synfarm_caption_api.concept_check import check_recipe, resolve_concepts, with_synonyms
from synfarm_caption_api.concept_sets import ConceptSets
from synfarm_caption_api.prompts.library import Library
from synfarm_caption_api.prompts.own import OwnLibrary
from synfarm_caption_api.prompts.recipe_making import Made, RecipeMaker, needs_recipe

__all__ = ["Origin", "Origins"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The fields of the spec that say where its captions come from."""

    fields: dict[str, Any]
    made: Made | None = None
    """A recipe that must be in the store before the job."""


class Origins:
    """Settles origins; thread-safe. Costs a few requests to the store at most."""

    def __init__(
        self, store: ObjectStore, vocabulary: Sequence[Concept], recipes: RecipeMaker, shipped: Library
    ) -> None:
        self._store, self._vocabulary, self._recipes, self._shipped = store, vocabulary, recipes, shipped
        self._lexicon = Lexicon(vocabulary)
        self._files = CaptionFiles(store)

    def settle(self, request: JobRequest, owner: str, *, drawn: bool = True) -> Origin:
        """The origin that a request asks for.

        Args:
            drawn: whether images follow; of texts alone no renderer refuses a concept.

        Raises:
            ProblemError: 422, with the field: a set, concept, file or job that there is not, or that cannot be drawn.
        """
        if request.captions_from is not None:
            if request.captions_from.file is not None:
                return Origin({"captions_from": self._files.ref(owner, request.captions_from.file)})
            return self._from_job(request, str(request.captions_from.job), owner)
        if needs_recipe(request):
            if request.concepts:
                concepts = self._concepts(request, drawn)
                return self._by(self._recipes.make(request.model_copy(update={"concepts": concepts})))
            made = self._recipes.make(request, self._sets_of(owner, request, drawn))
            if drawn and request.render.renderer == "collage":
                check_recipe(made.recipe, self._lexicon, field=_named(request))
            return self._by(made)
        return Origin({"concepts": self._concepts(request, drawn)})

    def _sets_of(self, owner: str, request: JobRequest, drawn: bool) -> OwnLibrary:
        """Own sets get the synonyms that a list of the same concepts gets."""
        vocabulary = () if drawn and request.render.renderer != "collage" else self._vocabulary
        sets = ConceptSets(self._store, self._shipped)
        return OwnLibrary(self._shipped, sets, owner, vocabulary=vocabulary)

    def _concepts(self, request: JobRequest, drawn: bool) -> tuple[Concept, ...]:
        if drawn:
            return resolve_concepts(request, self._vocabulary)
        return with_synonyms(request.concepts, self._vocabulary)

    @staticmethod
    def _by(made: Made) -> Origin:
        return Origin({"recipe": made.ref}, made)

    def _from_job(self, request: JobRequest, job: JobId, owner: str) -> Origin:
        try:
            theirs = read_spec(self._store, job)
        except ObjectMissing:
            theirs = None
        gone = self._store.head(layout.tombstone(job)) is not None
        if theirs is None or theirs.owner != owner or gone:
            hint = "GET /v1/jobs lists your jobs; captions are taken from a job of your own."
            raise _refused("unknown_job", f"There is no job {job!r} of yours.", hint)
        if self._store.head(layout.active(job)) is not None:
            hint = f"Wait until GET /v1/jobs/{job} says that it has ended, or cancel it; then send this again."
            raise _refused("job_not_ended", f"Job {job} is still being made.", hint)
        if request.captions > theirs.captions:
            detail = f"Job {job} has {theirs.captions} captions, and {request.captions} are asked for."
            raise _refused("too_many_captions", detail, f"Ask for at most {theirs.captions}.", field="captions")
        return Origin(
            {
                "captions_from": CaptionJobRef(job=job, seed=theirs.draw_seed),
                "concepts": theirs.concepts,
                "recipe": theirs.recipe,
                "concept_draw": theirs.concept_draw,
            }
        )


def _named(request: JobRequest) -> str:
    return next(name for name in ("concept_set", "mix", "variant") if getattr(request, name))


def _refused(code: str, detail: str, hint: str, *, field: str = "captions_from.job") -> ProblemError:
    return ProblemError(422, code, detail, field=field, hint=hint)
