"""Pools, prompt layout, and draws that are pure functions of (seed, index, redraw)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, ConceptKind, JobRequest, JobSpec
from synfarm.contracts.origins import Layout
from synfarm_caption_api import gate
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.prompts.template import Writer

POOLS = load_pools()


def spec_of(seed: int, **changes: object) -> JobSpec:
    body = {"concepts": ["dog", {"name": "beach", "kind": "place"}, {"name": "knitted", "kind": "texture"}], **changes}
    plain = JobRequest.model_validate({"captions": 1000, "seed": seed, **body}).model_dump(
        exclude={"captions_per_unit"}
    )
    return JobSpec(**plain, job="01k" + "0" * 23, owner="ada", created_at=utc_now(), captions_per_unit=8)


def test_the_pools_have_the_sizes_of_the_paper_and_pass_our_own_gate(make_spec: Callable[..., JobSpec]) -> None:
    assert {kind: len(POOLS.of(kind.value)) for kind in ConceptKind} == {"object": 52, "place": 33, "texture": 21}
    examples = [example for kind in ConceptKind for example in POOLS.of(kind.value)]
    assert len({e.id for e in examples}) == len({e.caption for e in examples}) == len({e.concept for e in examples})
    for example in examples:
        concept = Concept(name=example.concept)
        assert gate.refuse(example.caption, concept, (), make_spec().caption) is None, example


def test_a_prompt_is_instruction_three_examples_and_the_query() -> None:
    examples, writer = POOLS.of("object")[:3], Writer(Layout.PLAIN)
    shown = [writer.shown("object", e.concept, e.second, e.caption) for e in examples]
    prompt = writer.prompt("object", shown, "fire truck")
    blocks = prompt.split("\n\n")
    assert blocks[0].endswith(":")
    assert blocks[1:4] == [f"{e.concept} => {e.caption}" for e in examples]
    assert blocks[4] == "fire truck =>"


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), index=st.integers(0, 999), redraw=st.integers(0, 64))
def test_a_draw_depends_on_nothing_but_seed_index_and_redraw(seed: int, index: int, redraw: int) -> None:
    for mode in ("uniform", "balanced"):
        used, fresh = Drawer(spec_of(seed, concept_draw=mode), POOLS), Drawer(spec_of(seed, concept_draw=mode), POOLS)
        for other in (999 - index, 3, index):
            used.draw(other, 7)
        draw = used.draw(index, redraw)
        assert draw == fresh.draw(index, redraw)
        assert draw.concept == fresh.draw(index, 0).concept
        assert len(set(draw.examples)) == 3
        assert set(draw.examples) <= set(POOLS.of(draw.concept.kind.value))
        assert 0 <= draw.llm_seed < 2**32


def test_a_redraw_asks_something_else() -> None:
    drawer = Drawer(spec_of(1), POOLS)
    draws = [drawer.draw(5, redraw) for redraw in range(9)]
    assert len({draw.llm_seed for draw in draws}) == 9
    assert len({draw.examples for draw in draws}) > 5


def test_balanced_draws_hold_each_concept_once_a_round_and_uniform_ones_do_not() -> None:
    balanced = Drawer(spec_of(3, concept_draw="balanced"), POOLS)
    rounds = [[balanced.draw(3 * r + i).concept.name for i in range(3)] for r in range(20)]
    assert all(sorted(names) == ["beach", "dog", "knitted"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1
    uniform = Counter(Drawer(spec_of(3), POOLS).draw(i).concept.name for i in range(900))
    assert all(230 < count < 370 for count in uniform.values())
    assert uniform["dog"] != 300 or uniform["beach"] != 300


def test_the_asked_concept_is_never_its_own_example() -> None:
    drawer = Drawer(spec_of(0, concepts=["heron"]), POOLS)
    assert all(e.concept != "heron" for i in range(200) for e in drawer.draw(i).examples)


def test_captions_in_sequence_may_share_their_examples_and_by_default_do_not() -> None:
    alone = Drawer(spec_of(2, concepts=["dog", "cat", "heron"]), POOLS)
    assert len({alone.draw(i).examples for i in range(16)}) == 16
    shared = Drawer(spec_of(2, concepts=["dog", "cat", "heron"], caption={"examples_per_draw": 8}), POOLS)
    for start in (0, 8, 80):
        group = [shared.draw(i) for i in range(start, start + 8)]
        assert len({draw.examples for draw in group if draw.concept.name != "heron"}) == 1
        assert len({draw.llm_seed for draw in group}) == 8
    assert shared.draw(7).examples != shared.draw(8).examples
    assert shared.draw(7).examples != shared.draw(7, 1).examples
