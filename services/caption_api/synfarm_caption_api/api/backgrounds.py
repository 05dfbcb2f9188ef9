"""The route that asks the LLM for settings; what it answers is the caller's, the farm keeps nothing of it."""

from __future__ import annotations

from fastapi import APIRouter, Request

from synfarm.contracts.backgrounds import BackgroundsAnswer, BackgroundsRequest, ConceptBackgrounds
from synfarm.contracts.concepts import Concept
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.asks import llm_away, prompt_refused, unless_gone
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.backgrounds.asking import Asker
from synfarm_caption_api.backgrounds.making import make_backgrounds
from synfarm_caption_api.concept_check import with_synonyms
from synfarm_caption_api.text_generator import GeneratorAway, PromptRefused
from synfarm_caption_api.together import together

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["prompts"])


@router.post("/backgrounds", summary="Ask for settings of concepts")
async def backgrounds(
    request: Request, body: BackgroundsRequest, who: CurrentPrincipal, services: Services
) -> BackgroundsAnswer:
    """Ask the LLM in what settings each concept is plausible; the answer fits `backgrounds` of `POST /v1/jobs`.

    Takes as long as the LLM does: seconds on a GPU, minutes on a busy CPU. `max_rounds` bounds it; send what there is
    as `known` to go on. A client that hangs up ends it; a key has only a few such requests at a time.
    """
    with services.asks.place(who):
        return await unless_gone(request, _made(body, services))


async def _made(body: BackgroundsRequest, services: ApiServices) -> BackgroundsAnswer:
    asker = Asker(body.seed)

    async def one(i: int, concept: Concept) -> ConceptBackgrounds:
        try:
            return await make_backgrounds(
                concept,
                wanted=body.n,
                known=body.known_of(concept.name),
                asker=asker,
                generator=services.generator,
                temperature=body.temperature,
                top_p=body.top_p,
                max_rounds=body.max_rounds,
            )
        except PromptRefused as error:
            raise prompt_refused(error, f"concepts.{i}.name", "Shorten the concept's name.") from error

    try:
        model = await services.generator.info()
        concepts = with_synonyms(body.concepts, services.vocabulary)
        items = await together(one(i, concept) for i, concept in enumerate(concepts))
    except GeneratorAway as error:
        raise llm_away(error) from error
    return BackgroundsAnswer(items=tuple(items), llm_model=model.model, llm_revision=model.revision)
