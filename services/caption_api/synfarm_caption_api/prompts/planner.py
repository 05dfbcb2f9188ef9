"""What a caption is planned to show: concept, template and second field, which no redraw ever changes."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from synfarm.contracts import randomness
from synfarm.contracts.concepts import Concept, Phrase
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.origins import Template
from synfarm.contracts.purposes import Purpose
from synfarm.contracts.recipes import Recipe
from synfarm_caption_api.prompts.concept_plan import ConceptPlan, chances

__all__ = ["Planned", "Planner"]


class Planned(NamedTuple):
    """A pure function of (the seed of the draws, index)."""

    concept: Concept
    template: Template
    second: str | None
    hypernyms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """A source of the recipe, ready to be drawn from."""

    concepts: tuple[Concept, ...]
    templates: tuple[Template, ...]
    chances: tuple[float, ...]
    backgrounds: tuple[tuple[Phrase, ...], ...]
    background_of: tuple[int, ...]
    hypernyms: tuple[tuple[Phrase, ...], ...]


class Planner:
    """Plans the captions of one job; thread-safe."""

    def __init__(self, spec: JobSpec, recipe: Recipe | None = None) -> None:
        self._plan = ConceptPlan(spec, recipe)
        if recipe is None:
            self._sources: tuple[_Source, ...] = (_Source(spec.concepts, (Template.CONCEPT,), (), (), (), ()),)
        else:
            self._sources = tuple(
                _Source(
                    source.concepts,
                    tuple(source.templates),
                    chances(source.templates.values()),
                    source.backgrounds,
                    source.background_of,
                    source.hypernyms,
                )
                for source in recipe.sources
            )
        self._relations = recipe.relations if recipe is not None else ()
        self._template_key = randomness.key_of(spec.draw_seed, Purpose.TEMPLATE)
        self._second_key = randomness.key_of(spec.draw_seed, Purpose.SECOND)

    def at(self, index: int) -> Planned:
        """The plan of a caption."""
        number, place = self._plan.pick(index)
        source = self._sources[number]
        template = source.templates[0]
        if source.chances:
            drawn = randomness.uniform(randomness.bits(self._template_key, index))
            template = source.templates[bisect_right(source.chances, drawn)]
        if template is Template.CONCEPT:
            return Planned(source.concepts[place], template, None, ())
        choices = self._relations if template is Template.RELATION else source.backgrounds[source.background_of[place]]
        second = choices[randomness.below(randomness.bits(self._second_key, index), len(choices))]
        hypernyms = source.hypernyms[place] if template is Template.JOINED else ()
        return Planned(source.concepts[place], template, second, hypernyms)
