"""Captions of one unit: draw, prompt, generate, clean, gate, and draw again what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from synfarm.contracts.captions import CaptionRecord, DropReason
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import CaptionSettings, JobSpec
from synfarm_caption_api import gate
from synfarm_caption_api.prompts.draw import Draw, Drawer
from synfarm_caption_api.text_generator import Generation, ModelInfo, TextGenerator
from synfarm_caption_api.together import together

__all__ = ["caption_unit", "generate_draw", "judge"]


@dataclass(slots=True)
class _Slot:
    """One planned caption on its way."""

    draws: int = 0
    rejections: Counter[DropReason] = field(default_factory=Counter)


async def caption_unit(
    spec: JobSpec, unit: int, *, drawer: Drawer, generator: TextGenerator, progress: Callable[[], None]
) -> list[CaptionRecord]:
    """The records of a unit, one a planned caption, in order of index; ``progress`` is called at every answer.

    Rounds: all open captions ask at once, then are judged in order of index. So what counts as a duplicate does not
    depend on which answer came first.

    Raises:
        GeneratorAway, PromptRefused: from the generator; the other requests are cancelled.
    """
    model = await generator.info()
    slots = {index: _Slot() for index in spec.unit_range(unit)}
    records: dict[int, CaptionRecord] = {}
    kept = gate.KeptCaptions()
    for redraw in range(spec.caption.max_redraws + 1):
        draws = [drawer.draw(index, redraw) for index in slots if index not in records]
        if not draws:
            break

        async def ask(draw: Draw) -> Generation:
            generation = await generate_draw(generator, draw, spec.caption)
            progress()
            return generation

        for draw, generation in zip(draws, await together(ask(draw) for draw in draws), strict=True):
            slot = slots[draw.index]
            slot.draws += 1
            text, reason = judge(draw, generation, spec.caption, kept)
            if reason is not None:
                slot.rejections[reason] += 1
            if reason is None or redraw == spec.caption.max_redraws:
                records[draw.index] = _record(spec, draw, generation, slot, model, text, reason)
    return [records[index] for index in slots]


async def generate_draw(generator: TextGenerator, draw: Draw, settings: CaptionSettings) -> Generation:
    """Ask the LLM for one draw."""
    return await generator.generate(
        draw.prompt,
        seed=draw.llm_seed,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_new_tokens=settings.max_new_tokens,
        stop=("\n",),
    )


def judge(
    draw: Draw, generation: Generation, settings: CaptionSettings, kept: gate.KeptCaptions
) -> tuple[str, DropReason | None]:
    """The cleaned text and why it is refused, if it is. ``kept``: the unit's captions so far; this one joins them."""
    text = gate.clean(generation.text, settings, truncated=generation.finish_reason == "length")
    reason = gate.refuse(text, draw.concept, (e.caption for e in draw.examples), settings)
    return text or "", reason or kept.admit(
        text or "", draw.concept, background=draw.background, relation=draw.relation
    )


def _record(
    spec: JobSpec,
    draw: Draw,
    generation: Generation,
    slot: _Slot,
    model: ModelInfo,
    text: str,
    reason: DropReason | None,
) -> CaptionRecord:
    return CaptionRecord(
        caption_id=caption_id(spec.job, draw.index),
        index=draw.index,
        concept=draw.concept.name,
        kind=draw.concept.kind,
        template=draw.template,
        second=draw.second,
        layout=spec.caption.layout,
        examples=tuple(example.id for example in draw.examples),
        text=text if reason is None else None,
        empty_reason=reason,
        draws=slot.draws,
        rejections=dict(sorted(slot.rejections.items())),
        llm_seed=draw.llm_seed,
        llm_model=model.model,
        llm_revision=model.revision,
        finish_reason=generation.finish_reason,
        tokens=generation.tokens,
        scores=gate.scores(text, draw.concept, draw.background, draw.relation) if reason is None else {},
    )
