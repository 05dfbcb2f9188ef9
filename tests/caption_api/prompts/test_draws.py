"""Draws by recipe: pure in any order, thread and process, in the stated ratios; plain lists as they always were."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm.contracts.base import utc_now
from synfarm.contracts.concepts import Concept, ConceptKind
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.origins import CaptionJobRef, Layout, Template
from synfarm.contracts.recipes import PoolExample, Recipe, Source
from synfarm_caption_api.prompts.draw import Draw, Drawer
from synfarm_caption_api.prompts.library import FakeLibrary
from synfarm_caption_api.prompts.planner import Planner
from synfarm_caption_api.prompts.pools import RELATIONS, Pools, load_pools
from synfarm_caption_api.prompts.recipe_making import RecipeMaker
from synfarm_caption_api.prompts.template import Writer

JOB = "01k" + "0" * 23
DRAWS = 1_000_000


def spec_of(recipe: Recipe, **changes: Any) -> JobSpec:
    plain = {"captions": 10**9, "captions_per_unit": 64, "job": JOB, "owner": "ada", "created_at": utc_now()}
    return JobSpec.model_validate({**plain, "recipe": recipe.ref(), **changes})


@pytest.fixture(scope="module")
def paper(library: FakeLibrary, pools: Pools) -> Recipe:
    return RecipeMaker(library, pools).make(JobRequest.model_validate({"mix": "paper", "captions": 1})).recipe


def told(draw: Draw) -> list[Any]:
    ids = [example.id for example in draw.examples]
    return [draw.index, draw.redraw, draw.concept.name, draw.template, draw.second, ids, draw.llm_seed, draw.prompt]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    indices=st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=6),
    redraw=st.integers(0, 64),
    per_draw=st.sampled_from([1, 8]),
    balanced=st.booleans(),
    layout=st.sampled_from(list(Layout)),
    data=st.data(),
)
def test_a_draw_depends_on_seed_index_and_redraw_alone(
    paper: Recipe,
    seed: int,
    indices: list[int],
    redraw: int,
    per_draw: int,
    balanced: bool,
    layout: Layout,
    data: st.DataObject,
) -> None:
    caption = {"examples_per_draw": per_draw, "layout": layout}
    spec = spec_of(paper, seed=seed, caption=caption, concept_draw="balanced" if balanced else "uniform")
    first, other = Drawer(spec, load_pools(), paper), Drawer(spec, load_pools(), Recipe.from_bytes(paper.to_bytes()))
    forward = {index: first.draw(index, redraw) for index in indices}
    for index in data.draw(st.permutations(indices)):
        again = other.draw(index, redraw)
        assert again == forward[index]
        unmoved = other.draw(index, 0)
        assert (unmoved.concept, unmoved.template, unmoved.second) == (again.concept, again.template, again.second)
        assert len({example.id for example in again.examples}) == 3


def test_threads_and_processes_draw_the_same(paper: Recipe, tmp_path: Path) -> None:
    spec = spec_of(paper, seed=5, concept_draw="balanced")
    drawer, indices = Drawer(spec, load_pools(), paper), range(0, 4000, 7)
    alone = [told(drawer.draw(index)) for index in indices]
    shared = Drawer(spec, load_pools(), paper)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda index: told(shared.draw(index)), indices, chunksize=3)) == alone
    (tmp_path / "recipe.json").write_bytes(paper.to_bytes())
    (tmp_path / "spec.json").write_bytes(spec.to_bytes())
    program = (
        "import hashlib, json, pathlib\n"
        "from synfarm.contracts.jobs import JobSpec\n"
        "from synfarm.contracts.recipes import Recipe\n"
        "from synfarm_caption_api.prompts.draw import Drawer\n"
        "from synfarm_caption_api.prompts.pools import load_pools\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "spec = JobSpec.from_bytes((here / 'spec.json').read_bytes())\n"
        "drawer = Drawer(spec, load_pools(), Recipe.from_bytes((here / 'recipe.json').read_bytes()))\n"
        "draws = [drawer.draw(i) for i in range(0, 4000, 7)]\n"
        "told = [[d.index, d.redraw, d.concept.name, d.template, d.second, [e.id for e in d.examples], d.llm_seed,"
        " d.prompt] for d in draws]\n"
        "print(hashlib.sha256(json.dumps(told).encode()).hexdigest())\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == hashlib.sha256(json.dumps(alone).encode()).hexdigest()


def chi_square_is_likely(observed: Counter[Any], expected: dict[Any, float]) -> bool:
    """Whether a chi-square this large has a chance of one in a million (by Wilson and Hilferty)."""
    assert set(observed) <= set(expected)
    total, free = sum(observed.values()), len(expected) - 1
    statistic = math.fsum((observed[key] - total * p) ** 2 / (total * p) for key, p in expected.items())
    spread = 2 / (9 * free)
    return ((statistic / free) ** (1 / 3) - (1 - spread)) / math.sqrt(spread) < 4.75


def test_a_million_draws_keep_all_ratios(paper: Recipe) -> None:
    planner = Planner(spec_of(paper, seed=2024), paper)
    observed: Counter[tuple[str, Template, str | None]] = Counter()
    for index in range(DRAWS):
        planned = planner.at(index)
        observed[planned.concept.name, planned.template, planned.second] += 1
    total = math.fsum(source.weight for source in paper.sources)
    expected: dict[tuple[str, Template, str | None], float] = {}
    for source in paper.sources:
        templates = math.fsum(source.templates.values())
        for place, concept in enumerate(source.concepts):
            for template, weight in source.templates.items():
                seconds: tuple[str | None, ...] = (None,)
                if template is Template.RELATION:
                    seconds = RELATIONS
                elif template is Template.BACKGROUND:
                    seconds = source.backgrounds[source.background_of[place]]
                chance = source.weight / total / len(source.concepts) * weight / templates / len(seconds)
                expected.update({(concept.name, template, second): chance for second in seconds})
    assert math.isclose(math.fsum(expected.values()), 1)
    assert min(expected.values()) * DRAWS > 5  # below that a chi-square says nothing
    assert chi_square_is_likely(observed, expected)
    of_source = {concept.name: source.name for source in paper.sources for concept in source.concepts}
    by_source: Counter[str] = Counter()
    by_template: Counter[Template] = Counter()
    expected_source: Counter[str] = Counter()
    expected_template: Counter[Template] = Counter()
    for (name, template, _), count in observed.items():
        by_source[of_source[name]] += count
        by_template[template] += count
    for (name, template, _), chance in expected.items():
        expected_source[of_source[name]] += chance  # type: ignore[assignment]
        expected_template[template] += chance  # type: ignore[assignment]
    assert chi_square_is_likely(by_source, dict(expected_source))
    assert chi_square_is_likely(by_template, dict(expected_template))


def test_the_chi_square_sees_a_share_that_is_one_percent_off() -> None:
    observed = Counter({"a": 505_000, "b": 495_000})
    assert not chi_square_is_likely(observed, {"a": 0.5, "b": 0.5})
    assert chi_square_is_likely(Counter({"a": 500_300, "b": 499_700}), {"a": 0.5, "b": 0.5})


def test_examples_are_drawn_evenly_and_without_replacement() -> None:
    rows = tuple(PoolExample(id=f"r{n}", pool="object", concept=f"pot {n}", caption=f"a pot {n}") for n in range(20))
    source = Source(name="s", weight=1, concepts=(Concept(name="dog"),), templates={Template.CONCEPT: 1})
    recipe = Recipe(name="r", sources=(source,), pools=rows)
    drawer, places, captions = Drawer(spec_of(recipe), load_pools(), recipe), Counter[tuple[int, str]](), 20_000
    for index in range(captions):
        examples = [example.id for example in drawer.draw(index).examples]
        assert len(set(examples)) == 3
        places.update(enumerate(examples))
    assert chi_square_is_likely(places, {(place, f"r{n}"): 1 / 60 for place in range(3) for n in range(20)})


def test_the_own_example_is_passed_over_even_where_a_pool_has_several(pools: Pools) -> None:
    rows = [row for row in pools.rows if row.pool != "relation"]
    for n in range(8):
        concept = "Dog" if n < 4 else f"pot {n}"
        rows.append(PoolExample(id=f"own-{n}", pool="relation", concept=concept, second="in", caption=f"a thing {n}"))
    source = Source(name="s", weight=1, concepts=(Concept(name="dog"),), templates={Template.RELATION: 1})
    recipe = Recipe(name="r", sources=(source,), relations=RELATIONS, pools=tuple(rows))
    drawer = Drawer(spec_of(recipe), pools, recipe)
    for index in range(300):
        examples = drawer.draw(index).examples
        assert len(examples) == 3
        assert all(example.concept != "Dog" for example in examples)


@pytest.mark.parametrize(
    ("concept_draw", "per_draw", "golden"),
    [
        ("uniform", 1, "5e3cf6f134a52d0cd3157bc1e6150aed44782011b19f90d619a98fa52ae64291"),
        ("balanced", 5, "ff3a7a6e97cbbe306a9efff57aa39919767cb89e1a2b57c61fa3ec9a847dcd39"),
    ],
)
def test_plain_lists_draw_what_they_always_drew(concept_draw: str, per_draw: int, golden: str) -> None:
    """Golden: made by the first version, which knew nothing but plain lists."""
    concepts = [
        Concept(name="dog"),
        Concept(name="beach", kind=ConceptKind.PLACE),
        Concept(name="knitted", kind=ConceptKind.TEXTURE),
        Concept(name="heron", synonyms=("egret",)),
    ]
    plain = {"captions": 5000, "captions_per_unit": 8, "job": JOB, "owner": "ada", "created_at": utc_now()}
    wish = {"concepts": concepts, "concept_draw": concept_draw, "seed": 11, "caption": {"examples_per_draw": per_draw}}
    drawer, digest = Drawer(JobSpec.model_validate({**plain, **wish}), load_pools()), hashlib.sha256()
    for index in range(500):
        for redraw in (0, 3):
            row = told(drawer.draw(index, redraw))
            digest.update(json.dumps([*row[:3], *row[5:]]).encode())
    assert digest.hexdigest() == golden


def test_balanced_draws_of_a_set_hold_each_concept_once_a_round(library: FakeLibrary, pools: Pools) -> None:
    wish = JobRequest.model_validate({"concept_set": "in21k", "captions": 1})
    recipe = RecipeMaker(library, pools).make(wish).recipe
    drawer = Drawer(spec_of(recipe, concept_draw="balanced"), pools, recipe)
    for number in range(3):
        names = [drawer.draw(90 * number + place).concept.name for place in range(90)]
        assert sorted(names) == sorted(concept.name for concept in library.concepts("in21k"))


def test_the_captions_of_another_job_are_planned_by_its_seed(paper: Recipe) -> None:
    theirs = spec_of(paper, seed=9)
    ours = spec_of(paper, seed=1, captions_from=CaptionJobRef(job=JOB, seed=9))
    assert [Planner(ours, paper).at(i) for i in range(50)] == [Planner(theirs, paper).at(i) for i in range(50)]


def test_each_prompt_has_its_instruction_its_key_and_no_space_at_its_end(paper: Recipe, pools: Pools) -> None:
    drawer = Drawer(spec_of(paper), pools, paper)
    draws = [drawer.draw(index) for index in drawer.one_of_each(4096)]
    heads = {draw.prompt.split("\n", 1)[0] for draw in draws}
    assert len(draws) == len(heads) == 5
    assert all(head.endswith(":") for head in heads)
    for draw in draws:
        blocks = draw.prompt.split("\n\n")
        key = draw.concept.name if draw.second is None else f"{draw.concept.name}, {draw.second}"
        assert blocks[4] == f"{key} =>"
        for block, row in zip(blocks[1:4], draw.examples, strict=True):
            shown = row.concept if row.second is None else f"{row.concept}, {row.second}"
            assert block == f"{shown} => {row.caption}"


@pytest.mark.parametrize(
    ("pool", "indent"), [("object", 36), ("place", 36), ("relation", 75), ("background", 59), ("texture", 52)]
)
def test_the_release_s_layout_indents_examples_and_query_but_no_empty_line(pool: Any, indent: int) -> None:
    writer = Writer(Layout.RELEASE)
    prompt = writer.prompt(pool, [writer.shown(pool, "cat", None, "a cat")] * 3, "dog")
    head, *lines = prompt.split("\n")
    assert not head.startswith(" ")
    assert lines == ["", *[" " * indent + "cat => a cat", ""] * 3, " " * indent + "dog =>"]


def test_the_subject_layout() -> None:
    writer = Writer(Layout.SUBJECT)
    prompt = writer.prompt("background", [writer.shown("background", "cat", "a roof", "a cat")], "dog", "a park")
    assert prompt.endswith("\n\nSubject: cat, a roof. Caption: a cat\n\nSubject: dog, a park. Caption:")
