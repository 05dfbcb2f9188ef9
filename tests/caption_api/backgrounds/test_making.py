"""Rounds of questions for one concept: when they end, what they are keyed by, and what an error leaves running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from synfarm.contracts.backgrounds import BackgroundsEnd, ConceptBackgrounds, SettingRefusal
from synfarm.contracts.concepts import Concept
from synfarm_caption_api.backgrounds.asking import Asker, Question, example_lists, with_article
from synfarm_caption_api.backgrounds.making import WIDTH, make_backgrounds
from synfarm_caption_api.text_generator import FakeGenerator, Generation, GeneratorAway

PLACES = ("park", "porch", "beach", "kitchen", "garden", "hill", "barn", "forest", "river", "street")
LOOKS = ("snowy", "sunny", "dark", "old", "quiet", "busy", "green", "narrow")


class Lists(FakeGenerator):
    """Answers with ``answer(number of the question, its seed)``, and remembers the questions."""

    def __init__(self, answer: Callable[[int, int], str | Exception]) -> None:
        super().__init__()
        self._list = answer
        self.prompts: list[str] = []
        self.seeds: list[int] = []

    async def generate(self, prompt: str, *, seed: int, stop: Sequence[str] = (), **_: Any) -> Generation:
        self.prompts.append(prompt)
        self.seeds.append(seed)
        assert stop == ("\n\n",)
        number, self.calls = self.calls, self.calls + 1
        await asyncio.sleep(0)
        answer = self._list(number, seed)
        if isinstance(answer, Exception):
            raise answer
        return Generation(answer, "stop_sequence", 20)


def fresh(number: int, seed: int) -> str:
    """Ten settings that no other question has."""
    return "".join(f" on a {LOOKS[number % 8]} {place}\n- a dog" for place in PLACES)


def make(generator: FakeGenerator, concept: str = "dog", seed: int = 0, **changes: Any) -> ConceptBackgrounds:
    options: dict[str, Any] = {"wanted": 100, "known": (), "temperature": 0.8, "top_p": 0.9, "max_rounds": 8, **changes}
    return asyncio.run(make_backgrounds(Concept(name=concept), asker=Asker(seed), generator=generator, **options))


def test_it_ends_as_soon_as_there_are_enough() -> None:
    generator = Lists(fresh)
    made = make(generator, wanted=45)
    assert (made.ended, made.rounds, len(made.backgrounds)) == (BackgroundsEnd.FULL, 2, 45)
    assert generator.calls == 2 * WIDTH
    assert made.backgrounds[:2] == ("snowy park", "snowy porch")
    assert len(set(made.backgrounds)) == 45


def test_what_is_known_counts_and_is_not_made_again() -> None:
    made = make(Lists(fresh), wanted=12, known=("a snowy park", "attic"))
    assert made.ended is BackgroundsEnd.FULL
    assert len(made.backgrounds) == 10
    assert "snowy park" not in made.backgrounds
    nothing = make(generator := Lists(fresh), wanted=2, known=("park", "hill"))
    assert (nothing.backgrounds, nothing.rounds, nothing.ended) == ((), 0, BackgroundsEnd.FULL)
    assert generator.calls == 0


def test_what_is_known_in_other_words_counts_once() -> None:
    made = make(generator := Lists(fresh), wanted=3, known=("park", "Park", "the park"))
    assert (made.ended, len(made.backgrounds)) == (BackgroundsEnd.FULL, 2)
    once = make(other := Lists(fresh), wanted=3, known=("park",))
    assert (made, generator.seeds) == (once, other.seeds)


@pytest.mark.parametrize("max_rounds", [1, 2, 5])
def test_a_request_without_any_news_says_that_the_model_is_dry(max_rounds: int) -> None:
    made = make(Lists(lambda number, seed: " in a park"), known=("park",), max_rounds=max_rounds)
    assert (made.backgrounds, made.rounds, made.ended) == ((), min(2, max_rounds), BackgroundsEnd.DRY)
    some = make(Lists(lambda number, seed: " in a park"), max_rounds=1)
    assert (some.backgrounds, some.ended) == (("park",), BackgroundsEnd.ROUNDS)


def test_two_rounds_without_news_end_it_and_nothing_is_made_up() -> None:
    generator = Lists(lambda number, seed: " in a park\n- a dog on a porch\n- a dog on a leash")
    made = make(generator)
    assert made.backgrounds == ("park", "porch")
    assert (made.ended, made.rounds) == (BackgroundsEnd.DRY, 3)
    assert made.refused == {SettingRefusal.NO_PLACE: 3 * WIDTH, SettingRefusal.DUPLICATE: 2 * (3 * WIDTH - 1)}


def test_a_round_without_news_is_no_end_while_others_bring_some() -> None:
    def one_a_round(number: int, seed: int) -> str:
        round_ = number // WIDTH
        return f" in a {LOOKS[round_ // 2]} park"

    made = make(Lists(one_a_round), max_rounds=6)
    assert (made.ended, made.rounds) == (BackgroundsEnd.ROUNDS, 6)
    assert made.backgrounds == ("snowy park", "sunny park", "dark park")


def test_the_same_request_asks_the_same_and_another_does_not() -> None:
    def seeds(**changes: Any) -> list[int]:
        generator = Lists(fresh)
        make(generator, wanted=200, max_rounds=2, **changes)
        return generator.seeds

    assert seeds() == seeds()
    others = [seeds(seed=1), seeds(concept="cat"), seeds(known=("attic",))]
    for other in others:
        assert set(other).isdisjoint(seeds())
    assert len(set(seeds())) == 2 * WIDTH


def test_the_order_of_the_answers_does_not_matter() -> None:
    class Late(Lists):
        async def generate(self, prompt: str, *, seed: int, **more: Any) -> Generation:
            answer = await super().generate(prompt, seed=seed, **more)
            for _ in range((seed * 7) % 5):
                await asyncio.sleep(0)
            return answer

    by_seed = lambda number, seed: f" on a {LOOKS[seed % 8]} {PLACES[seed % 10]}\n- a dog in a park"  # noqa: E731
    assert make(Late(by_seed)) == make(Lists(by_seed))


def test_an_llm_that_is_away_ends_it_with_nothing_left_running() -> None:
    generator = Lists(lambda number, seed: GeneratorAway("gone") if number == 5 else fresh(number, seed))

    async def run() -> int:
        with pytest.raises(GeneratorAway):
            await make_backgrounds(
                Concept(name="dog"),
                wanted=100,
                known=(),
                asker=Asker(0),
                generator=generator,
                temperature=0.8,
                top_p=0.9,
                max_rounds=8,
            )
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1


def question(concept: str, round_: int = 0, place: int = 0, known: int = 0) -> Question:
    return Asker(3).question(Concept(name=concept), known, round_, place)


def test_a_prompt_shows_three_lists_of_other_things_and_ends_in_the_concept() -> None:
    asked = question("red panda")
    lists = asked.prompt.split("\n\n")
    assert len(lists) == 4
    assert lists[-1] == "Photos of a red panda:\n- a red panda"
    assert len(asked.shown) == sum(len(text.splitlines()) - 1 for text in lists[:-1])
    assert all(f" {setting}\n" in f"{asked.prompt}\n" for setting in asked.shown)


def test_a_concept_s_own_list_is_never_shown() -> None:
    for name in example_lists():
        for round_ in range(20):
            assert question(name, round_).prompt.count(f"Photos of {with_article(name)}:") == 1


def test_a_round_shares_its_lists_and_the_next_has_others() -> None:
    first = [question("cat", 0, place) for place in range(WIDTH)]
    assert len({asked.prompt for asked in first}) == 1
    assert len({asked.llm_seed for asked in first}) == WIDTH
    assert question("cow", 0).shown == first[0].shown, "so that the LLM server reads them once for all concepts"
    assert len({question("cat", round_).shown for round_ in range(8)}) == 8


@pytest.mark.parametrize(
    ("name", "as_one"),
    [("dog", "a dog"), ("owl", "an owl"), ("Eiffel tower", "an Eiffel tower"), ("scissors", "scissors")],
)
def test_articles(name: str, as_one: str) -> None:
    assert with_article(name) == as_one
