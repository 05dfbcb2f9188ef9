"""Settings for one concept: rounds of questions until there are enough, or the model has no more to say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from synfarm.contracts.backgrounds import BackgroundsEnd, ConceptBackgrounds, SettingRefusal
from synfarm.contracts.concepts import Concept
from synfarm_caption_api.backgrounds.asking import STOP, Asker, Question, with_article
from synfarm_caption_api.backgrounds.cleaning import read_setting
from synfarm_caption_api.backgrounds.harvest import Harvest
from synfarm_caption_api.backgrounds.places import leading_relation
from synfarm_caption_api.backgrounds.reading import items_of
from synfarm_caption_api.text_generator import Generation, TextGenerator
from synfarm_caption_api.together import together

__all__ = ["WIDTH", "make_backgrounds", "settings_in"]

WIDTH = 4
"""Questions of a round, asked at once: enough for the LLM server to batch, few enough to see a list dry up."""
_DRY_ROUNDS = 2
_NEW_TOKENS = 96
"""Ten lines or so; what a small model writes beyond them turns in circles."""


async def make_backgrounds(
    concept: Concept,
    *,
    wanted: int,
    known: Sequence[str],
    asker: Asker,
    generator: TextGenerator,
    temperature: float,
    top_p: float,
    max_rounds: int,
) -> ConceptBackgrounds:
    """New settings for a concept until there are ``wanted``, ``known`` counted in, each once.

    The answers of a round are read in their order, so that the result does not depend on which came first.

    Raises:
        GeneratorAway, PromptRefused: from the generator; the round's other questions are cancelled.
    """
    # In a thread: to read a thousand settings takes some hundredths of a second.
    harvest = await asyncio.to_thread(Harvest, known)
    rounds, dry = 0, 0

    async def ask(question: Question) -> Generation:
        return await generator.generate(
            question.prompt,
            seed=question.llm_seed,
            temperature=temperature,
            top_p=top_p,
            max_new_tokens=_NEW_TOKENS,
            stop=STOP,
        )

    def ended() -> BackgroundsEnd | None:
        if harvest.known + len(harvest.settings) >= wanted:
            return BackgroundsEnd.FULL
        if dry == _DRY_ROUNDS:
            return BackgroundsEnd.DRY
        if rounds < max_rounds:
            return None
        # Whoever goes on with the same settings is asked the same: without news, to go on would be for ever.
        return BackgroundsEnd.ROUNDS if harvest.settings else BackgroundsEnd.DRY

    while (end := ended()) is None:
        questions = [asker.question(concept, harvest.known, rounds, place) for place in range(WIDTH)]
        before = len(harvest.settings)
        for question, answer in zip(questions, await together(ask(question) for question in questions), strict=True):
            harvest.take(settings_in(answer, concept, question.shown))
        rounds += 1
        dry = dry + 1 if len(harvest.settings) == before else 0
    return ConceptBackgrounds(
        concept=concept.name,
        backgrounds=tuple(harvest.settings[: max(0, wanted - harvest.known)]),
        rounds=rounds,
        refused=harvest.refused,
        ended=end,
    )


def settings_in(answer: Generation, concept: Concept, shown: Sequence[str]) -> list[str | SettingRefusal]:
    """What each item of an answer is. The answer goes on with the line that the prompt began."""
    text = answer.text
    if text[:1].isalpha() and leading_relation(text)[0] is not None:
        text = f" {text}"  # a server that leaves the first space out; 'house in a garden' goes on with the word
    listed = f"- {with_article(concept.name)}{text}"
    items = items_of(listed, truncated=answer.finish_reason == "length")
    return [read_setting(item, concept, shown) for item in items]
