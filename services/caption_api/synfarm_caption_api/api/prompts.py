"""Routes to try prompts and to see which concepts there are, before a job is made."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from synfarm.concepts import UnknownConceptSet, about, load, set_names
from synfarm.contracts.pages import ConceptSet, ConceptSetInfo, ConceptSetList
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.tries import TriedCaption, TryAnswer, TryRequest
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.services import Services
from synfarm_caption_api.captioning import generate_draw, judge
from synfarm_caption_api.gate import KeptCaptions
from synfarm_caption_api.prompts.draw import Draw
from synfarm_caption_api.text_generator import GeneratorAway, PromptRefused

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["prompts"])


@router.post("/captions", summary="Try prompts without a job")
async def try_captions(body: TryRequest, who: CurrentPrincipal, services: Services) -> TryAnswer:
    """Ask the LLM for a few captions, without redraws, and see what the gate says of them.

    With ``concepts`` there are ``n`` of each; of a ``concept_set``, ``mix`` or ``variant`` the first ``n`` of a job.
    """
    # In a thread: the recipe of a large set takes some tenths of a second.
    trial = await asyncio.to_thread(services.submitter.trial, body, who.owner)
    spec, drawer = trial.spec, trial.drawer

    async def one(draw: Draw) -> TriedCaption:
        answer = await generate_draw(services.generator, draw, spec.caption)
        text, refused = judge(draw, answer, spec.caption, KeptCaptions())
        return TriedCaption(
            concept=draw.concept.name,
            template=draw.template,
            second=draw.second,
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
        raise ProblemError(
            422, "prompt_refused", str(error), hint="Shorten the concept's name, or your examples."
        ) from error
    return TryAnswer(items=tuple(items), llm_model=model.model, llm_revision=model.revision)


@router.get("/concept-sets", summary="List the concept sets")
def concept_sets(
    who: CurrentPrincipal,
    tell: Annotated[bool, Query(alias="about", description="Tell of each set how large it is, and whence.")] = False,
) -> list[str] | ConceptSetList:
    """Names of the concept sets that ship; with ``about`` what is known of each."""
    names = set_names()
    if not tell:
        return names
    known = [about(name) for name in names]
    return ConceptSetList(
        items=tuple(
            ConceptSetInfo(
                name=info.name,
                title=info.title,
                concepts=info.concepts,
                kinds=info.kinds,
                source=info.source,
                note=info.note,
            )
            for info in known
        )
    )


@router.get("/concept-sets/{name}", summary="See the concepts of a set")
def concept_set(name: str, who: CurrentPrincipal) -> ConceptSet:
    """One set; ``collage`` is what the collage renderer can draw."""
    try:
        return ConceptSet(name=name, concepts=load(name))
    except UnknownConceptSet as error:
        raise ProblemError(
            404, "concept_set_not_found", f"There is {error}.", hint="GET /v1/concept-sets lists them."
        ) from error
