"""The route to try prompts, before a job is made."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from synfarm.auth import Principal
from synfarm.contracts.tries import TriedCaption, TryAnswer, TryRequest
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.asks import llm_away, prompt_refused, unless_gone
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.captioning import generate_draw, judge
from synfarm_caption_api.gate import KeptCaptions
from synfarm_caption_api.prompts.draw import Draw
from synfarm_caption_api.text_generator import GeneratorAway, PromptRefused
from synfarm_caption_api.together import together

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["prompts"])


@router.post("/captions", summary="Try prompts without a job")
async def try_captions(request: Request, body: TryRequest, who: CurrentPrincipal, services: Services) -> TryAnswer:
    """Ask the LLM for a few captions, without redraws, and see what the gate says of them.

    With ``concepts`` there are ``n`` of each; of a ``concept_set``, ``mix`` or ``variant`` the first ``n`` of a job.
    """
    return await unless_gone(request, tried(body, who, services))


async def tried(body: TryRequest, who: Principal, services: ApiServices) -> TryAnswer:
    """What the LLM answers to the first captions; holds one of the key's places meanwhile.

    Raises:
        ProblemError: 422, what a job would be refused for, or the LLM refuses a prompt; 429, the key has no place left;
            503, the LLM is away.
    """
    with services.asks.place(who):
        return await _tried(body, who, services)


async def _tried(body: TryRequest, who: Principal, services: ApiServices) -> TryAnswer:
    # In a thread: the recipe of a large set takes some tenths of a second.
    trial = await asyncio.to_thread(services.submitter.trial, body, who.owner)
    spec, drawer = trial.spec, trial.drawer

    async def one(draw: Draw) -> TriedCaption:
        try:
            answer = await generate_draw(services.generator, draw, spec.caption)
        except PromptRefused as error:
            cure = "Shorten the concept's name, or your examples."
            raise prompt_refused(error, body.field_of(draw.concept.name), cure) from error
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
        items = await together(one(drawer.draw(i)) for i in range(spec.captions))
    except GeneratorAway as error:
        raise llm_away(error) from error
    return TryAnswer(items=tuple(items), llm_model=model.model, llm_revision=model.revision, notes=trial.notes)
