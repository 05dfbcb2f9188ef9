"""Routes to try prompts and to see which concepts there are, before a job is made."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from synfarm.concepts import UnknownConceptSet, load, set_names
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.pages import ConceptSet
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.tries import TriedCaption, TryAnswer, TryRequest
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.services import Services
from synfarm_caption_api.captioning import generate_draw, judge
from synfarm_caption_api.concept_check import with_synonyms
from synfarm_caption_api.gate import KeptCaptions
from synfarm_caption_api.prompts.draw import Draw, Drawer
from synfarm_caption_api.text_generator import GeneratorAway, PromptRefused

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["prompts"])
_NO_JOB = "0" * 26


@router.post("/captions", summary="Try prompts without a job")
async def try_captions(body: TryRequest, who: CurrentPrincipal, services: Services) -> TryAnswer:
    """Ask the LLM for a few captions, without redraws, and see what the gate says of them."""
    request = JobRequest(
        concepts=body.concepts,
        concept_draw="balanced",
        captions=len(body.concepts) * body.n,
        seed=body.seed,
        caption=body.caption,
    )
    plain = request.model_dump(exclude={"concepts", "captions_per_unit"})
    spec = JobSpec(
        **plain,
        concepts=with_synonyms(request.concepts, services.vocabulary),
        job=_NO_JOB,
        owner=who.owner,
        created_at=utc_now(),
        captions_per_unit=request.captions,
    )
    drawer = Drawer(spec, services.pools)

    async def one(draw: Draw) -> TriedCaption:
        answer = await generate_draw(services.generator, draw, spec.caption)
        text, refused = judge(draw, answer, spec.caption, KeptCaptions())
        return TriedCaption(
            concept=draw.concept.name,
            prompt=draw.prompt,
            answer=answer.text,
            text=None if refused else text,
            refused=refused,
            llm_seed=draw.llm_seed,
            finish_reason=answer.finish_reason,
            tokens=answer.tokens,
        )

    try:
        model = await services.generator.info()
        items = await asyncio.gather(*(one(drawer.draw(i)) for i in range(spec.captions)))
    except GeneratorAway as error:
        hint = "Try again later; GET /readyz tells when the LLM is back."
        raise ProblemError(503, "llm_away", str(error), hint=hint) from error
    except PromptRefused as error:
        raise ProblemError(422, "prompt_refused", str(error), hint="Shorten the concept's name.") from error
    return TryAnswer(items=tuple(items), llm_model=model.model, llm_revision=model.revision)


@router.get("/concept-sets", summary="List the concept sets")
def concept_sets(who: CurrentPrincipal) -> list[str]:
    """Names of the concept sets that ship."""
    return set_names()


@router.get("/concept-sets/{name}", summary="See the concepts of a set")
def concept_set(name: str, who: CurrentPrincipal) -> ConceptSet:
    """One set; ``collage`` is what the collage renderer can draw."""
    try:
        return ConceptSet(name=name, concepts=load(name))
    except UnknownConceptSet as error:
        raise ProblemError(
            404, "concept_set_not_found", f"There is {error}.", hint="GET /v1/concept-sets lists them."
        ) from error
