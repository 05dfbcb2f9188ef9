"""The draws of a job: what the language model is asked for a caption, as a pure function of its index."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from synfarm.contracts import randomness
from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.origins import Template
from synfarm.contracts.purposes import Purpose
from synfarm.contracts.recipes import POOLS, PoolExample, PoolName, Recipe
from synfarm_caption_api.prompts.planner import Planner
from synfarm_caption_api.prompts.pools import Pools
from synfarm_caption_api.prompts.template import EXAMPLES_PER_PROMPT, Writer, pool_of

__all__ = ["Draw", "Drawer"]


@dataclass(frozen=True, slots=True)
class Draw:
    """All that a generation needs, and nothing that depends on anything but (job seed, index, redraw)."""

    index: int
    redraw: int
    concept: Concept
    template: Template
    second: str | None
    """Background or relation word."""
    examples: tuple[PoolExample, ...]
    llm_seed: int
    """In [0, 2**32): TGI takes 64 bits, other servers fewer."""
    prompt: str

    @property
    def background(self) -> str | None:
        return self.second if self.template is Template.BACKGROUND else None

    @property
    def relation(self) -> str | None:
        return self.second if self.template is Template.RELATION else None


class _Kit:
    """One pool, ready to be shown."""

    def __init__(self, pool: PoolName, examples: tuple[PoolExample, ...], writer: Writer) -> None:
        self.examples = examples
        self.shown = [writer.shown(pool, row.concept, row.second, row.caption) for row in examples]
        self.folded = [row.concept.casefold() for row in examples]
        self.own = Counter(self.folded)


class Drawer:
    """Draws for one job; thread-safe.

    Concept, template and second field depend on the index alone: a redraw takes new examples and a new seed, never
    another concept, or the concepts that the LLM finds hard would thin out.
    """

    def __init__(self, spec: JobSpec, pools: Pools, recipe: Recipe | None = None) -> None:
        """``pools``: for a plain list of concepts; a recipe carries its own."""
        self._per_draw = spec.caption.examples_per_draw
        self._planner = Planner(spec, recipe)
        self._writer = Writer(spec.caption.layout)
        shown = pools if recipe is None else Pools.of_rows(recipe.pools)
        self._kits = {pool: _Kit(pool, shown.of(pool), self._writer) for pool in POOLS}
        self._examples_key = randomness.key_of(spec.seed, Purpose.EXAMPLES)
        self._seed_key = randomness.key_of(spec.seed, Purpose.LLM_SEED)

    def draw(self, index: int, redraw: int = 0) -> Draw:
        """The draw of a caption; ``redraw`` counts from 0."""
        concept, template, second, _ = self._planner.at(index)
        pool = pool_of(template, concept.kind)
        kit = self._kits[pool]
        chosen = self._choose(kit, concept.name.casefold(), index // self._per_draw, redraw)
        return Draw(
            index,
            redraw,
            concept,
            template,
            second,
            tuple([kit.examples[i] for i in chosen]),
            randomness.seed32(randomness.bits(self._seed_key, index, redraw)),
            self._writer.prompt(pool, [kit.shown[i] for i in chosen], concept.name, second),
        )

    def one_of_each(self, captions: int) -> list[int]:
        """Among the first captions the first index of each pool that is shown."""
        found: dict[PoolName, int] = {}
        for index in range(captions):
            planned = self._planner.at(index)
            found.setdefault(pool_of(planned.template, planned.concept.kind), index)
            if len(found) == len(POOLS):
                break
        return sorted(found.values())

    def _choose(self, kit: _Kit, concept: str, group: int, redraw: int) -> list[int]:
        """Three without replacement; the asked concept's own example is passed over, and one more drawn in its place.

        A small model would copy that one word by word. The rest of the group keeps the same three, in the same order.
        """
        own = kit.own[concept]
        count = min(EXAMPLES_PER_PROMPT + own, len(kit.examples))
        drawn = randomness.shuffled_sample(self._examples_key, len(kit.examples), count, group, redraw)
        if own:
            others = [i for i in drawn if kit.folded[i] != concept]
            return (others or drawn)[:EXAMPLES_PER_PROMPT]
        return drawn
