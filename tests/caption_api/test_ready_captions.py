"""Captions that no language model writes: lines of files, captions of other jobs, joined names; and jobs by recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.concepts import Lexicon, load
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import NO_CONCEPT, CaptionRecord, DropReason, read_jsonl, write_jsonl
from synfarm.contracts.concepts import Concept
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.origins import CaptionFileRef, CaptionJobRef, Layout, Template
from synfarm.contracts.recipes import PoolExample, Recipe, Source
from synfarm.queue.unit import UnitFault
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreDamaged
from synfarm_caption_api.caption_files import CaptionFiles
from synfarm_caption_api.captioning import caption_unit
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.drawers import Drawers
from synfarm_caption_api.prompts.pools import RELATIONS, Pools, load_pools
from synfarm_caption_api.ready_captions import ReadyCaptions
from synfarm_caption_api.recipe_shelf import RecipeShelf
from synfarm_caption_api.text_generator import FakeGenerator

JOB, THEIRS = "01k" + "0" * 23, "01k" + "1" * 23
SD15 = {"renderer": "diffusers", "model": "m/sd15", "family": "sd15"}
Make = Callable[..., JobSpec]


def spec_of(**changes: Any) -> JobSpec:
    plain = {"captions": 20, "captions_per_unit": 8, "job": JOB, "owner": "ada", "created_at": utc_now()}
    return JobSpec.model_validate({**plain, "render": SD15, **changes})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def ready(store: MemoryStore) -> ReadyCaptions:
    return ReadyCaptions(store, Lexicon(load("collage")))


def upload(store: MemoryStore, text: str, *, jsonl: bool = False) -> CaptionFileRef:
    files = CaptionFiles(store)
    part = files.put("ada", "mine", 0, text.encode(), jsonl=jsonl)
    files.commit("ada", "mine", (part.sha256,))
    return files.ref("ada", "mine")


def texts(records: list[CaptionRecord] | None) -> list[str | None]:
    assert records is not None
    return [record.text for record in records]


def test_lines_of_a_file_are_taken_in_order_and_again_from_the_start(store: MemoryStore, ready: ReadyCaptions) -> None:
    lines = (
        '{"text": "a heron", "concept": "heron"}\n{"text": "fog"}\n{"text": "a bay", "concept": "bay", "kind": "place"}'
    )
    spec = spec_of(captions_from=upload(store, lines, jsonl=True))
    records = ready.records(spec, 1, None)
    assert records is not None
    assert [record.index for record in records] == list(range(8, 16))
    assert texts(records) == ["a bay", "a heron", "fog"] * 2 + ["a bay", "a heron"]
    bay, heron, fog = records[:3]
    assert (bay.kind, heron.concept, fog.concept) == ("place", "heron", NO_CONCEPT)
    assert {(r.template, r.draws, r.llm_model) for r in records} == {(Template.GIVEN, 0, "none")}
    assert read_jsonl(write_jsonl(records)) == records


def test_a_part_that_is_not_what_was_committed_is_never_used(store: MemoryStore, ready: ReadyCaptions) -> None:
    spec = spec_of(captions_from=upload(store, "a heron\n"))
    (key,) = [info.key for info in store.list("uploads/") if "/parts/" in info.key]
    store.put(key, b'{"text":"a crane"}\n')
    with pytest.raises(StoreDamaged, match="not those of its hash"):
        ready.records(spec, 0, None)


def their_job(store: MemoryStore, *units: int) -> JobSpec:
    """Another job of 20 captions in units of 5; the fourth caption of each is an empty slot."""
    spec = spec_of(job=THEIRS, captions_per_unit=5, concepts=[Concept(name="heron")], seed=7)
    store.create(layout.job(THEIRS), spec.to_bytes())
    for unit in units:
        records = [
            CaptionRecord(
                caption_id=caption_id(THEIRS, index),
                index=index,
                concept="heron",
                template=Template.BACKGROUND,
                second="a bay",
                text=None if index % 5 == 3 else f"heron {index}",
                empty_reason=DropReason.REPEATS if index % 5 == 3 else None,
                draws=3,
                rejections={DropReason.REPEATS: 2},
                llm_seed=index,
                llm_model="m",
            )
            for index in spec.unit_range(unit)
        ]
        store.create(layout.captions(THEIRS, unit), write_jsonl(records))
    return spec


def test_captions_of_another_job_keep_text_and_empty_slots(store: MemoryStore, ready: ReadyCaptions) -> None:
    their_job(store, 0, 1, 2, 3)
    spec = spec_of(captions_from=CaptionJobRef(job=THEIRS, seed=7), concepts=[Concept(name="heron")])
    records = [record for unit in range(spec.units) for record in ready.records(spec, unit, None) or ()]
    assert texts(records) == [None if index % 5 == 3 else f"heron {index}" for index in range(20)]
    assert {record.empty_reason for record in records} == {None, DropReason.REPEATS}
    assert [record.caption_id for record in records] == [caption_id(JOB, index) for index in range(20)]
    assert {(r.draws, r.second, r.llm_model, len(r.rejections)) for r in records} == {(0, "a bay", "m", 0)}


def test_what_the_other_job_never_wrote_is_an_empty_slot(store: MemoryStore, ready: ReadyCaptions) -> None:
    their_job(store, 0, 3)
    spec = spec_of(captions_from=CaptionJobRef(job=THEIRS, seed=7), concepts=[Concept(name="heron")])
    records = ready.records(spec, 0, None)
    assert texts(records) == ["heron 0", "heron 1", "heron 2", None, "heron 4", None, None, None]
    assert records is not None
    assert {record.empty_reason for record in records[5:]} == {DropReason.NOT_WRITTEN}


def test_captions_of_a_deleted_job_are_the_unit_s_fault_and_not_empty_slots(
    store: MemoryStore, ready: ReadyCaptions
) -> None:
    their_job(store, 0)
    spec = spec_of(captions_from=CaptionJobRef(job=THEIRS, seed=7), concepts=[Concept(name="heron")])
    store.create(layout.tombstone(THEIRS), b"{}")
    with pytest.raises(UnitFault, match="deleted"):
        ready.records(spec, 1, None)
    lost = spec.model_copy(update={"captions_from": CaptionJobRef(job="01k" + "2" * 23, seed=7)})
    with pytest.raises(UnitFault, match="gone"):
        ready.records(lost, 1, None)


def test_joined_names_need_no_model(store: MemoryStore, ready: ReadyCaptions) -> None:
    source = Source(
        name="in1k",
        weight=1,
        concepts=(Concept(name="red fox"), Concept(name="owl")),
        templates={Template.JOINED: 1},
        backgrounds=(("harbour", "attic"),),
        background_of=(0, 0),
        hypernyms=(("fox", "canine"), ("bird",)),
    )
    recipe = Recipe(name="IN+h+Places", sources=(source,))
    records = ready.records(spec_of(recipe=recipe.ref(), captions=64, captions_per_unit=64), 0, recipe)
    names = {f"{start}, {place}" for start in ("red fox, fox, canine", "owl, bird") for place in ("harbour", "attic")}
    assert set(texts(records)) == names
    assert records is not None
    assert {(r.template, r.draws) for r in records} == {(Template.JOINED, 0)}
    assert {r.second for r in records} == {"harbour", "attic"}


def test_prompts_are_left_to_the_model(ready: ReadyCaptions) -> None:
    recipe = Recipe(
        name="r",
        sources=(Source(name="s", weight=1, concepts=(Concept(name="owl"),), templates={Template.CONCEPT: 1}),),
    )
    assert ready.records(spec_of(recipe=recipe.ref()), 0, recipe) is None
    assert ready.records(spec_of(concepts=[Concept(name="owl")]), 0, None) is None


def test_what_collage_cannot_draw_leaves_its_slot_empty(store: MemoryStore, ready: ReadyCaptions) -> None:
    ref = upload(store, "Two red-foxes, asleep\nan abstract mood\nthe fire truck's ladder\n")
    assert texts(ready.records(spec_of(captions_from=ref, captions=3, render={}), 0, None)) == [
        "Two red-foxes, asleep",
        None,
        "the fire truck's ladder",
    ]
    assert None not in texts(ready.records(spec_of(captions_from=ref, captions=3), 0, None))


async def test_the_records_of_a_recipe_tell_template_second_and_layout(store: MemoryStore) -> None:
    rows = [row for row in load_pools().rows if row.second is None]
    for n in range(6):
        row = {"id": f"r-{n}", "pool": "relation", "concept": f"pot {n}", "second": RELATIONS[n], "caption": f"pot {n}"}
        rows.append(PoolExample.model_validate(row))
    source = Source(
        name="s",
        weight=1,
        concepts=(Concept(name="owl"), Concept(name="fox")),
        templates={Template.CONCEPT: 1, Template.RELATION: 3},
    )
    recipe = Recipe(name="r", sources=(source,), relations=RELATIONS, pools=Pools.of_rows(rows).rows)
    spec = spec_of(recipe=recipe.ref(), captions=16, captions_per_unit=16, caption={"layout": "release"})
    drawer = Drawer(spec, load_pools(), recipe)
    generator = FakeGenerator(lambda key, seed: f"a quiet {key.partition(',')[0]} near the old well number {seed}")
    records = await caption_unit(spec, 0, drawer=drawer, generator=generator, progress=lambda: None)
    for record, draw in zip(
        records, (drawer.draw(index, record.draws - 1) for index, record in enumerate(records)), strict=True
    ):
        assert (record.template, record.second, record.concept) == (draw.template, draw.second, draw.concept.name)
        assert record.examples == tuple(example.id for example in draw.examples)
    assert {record.layout for record in records} == {Layout.RELEASE}
    assert {record.template for record in records} == {Template.CONCEPT, Template.RELATION}
    assert {record.second for record in records if record.template is Template.RELATION} <= set(RELATIONS)


def test_a_recipe_is_proven_when_it_is_read_and_read_once(store: MemoryStore) -> None:
    source = Source(name="s", weight=1, concepts=(Concept(name="owl"),), templates={Template.CONCEPT: 1})
    recipe = Recipe(name="r", sources=(source,))
    ref, seen = recipe.ref(), []
    store.create(layout.recipe(ref.sha256), recipe.to_bytes())
    store.fault = lambda operation, key: seen.append(key)
    shelf = RecipeShelf(store)
    assert shelf.get(ref) == recipe
    assert shelf.get(ref) is shelf.get(ref)
    assert shelf.get(None) is None
    assert len(seen) == 1
    store.fault = None
    store.put(layout.recipe(ref.sha256), recipe.to_bytes().replace(b"owl", b"cat"))
    with pytest.raises(StoreDamaged, match="not those of its name"):
        RecipeShelf(store).get(ref)
    assert hashlib.sha256(recipe.to_bytes()).hexdigest() == ref.sha256


def test_the_drawer_of_a_job_is_made_once() -> None:
    drawers, one = Drawers(load_pools(), size=2), spec_of(concepts=[Concept(name="owl")])
    assert drawers.of(one, None) is drawers.of(one, None)
    kept = drawers.of(one, None)
    for n in range(3):
        drawers.of(one.model_copy(update={"job": f"01k{n}" + "0" * 22}), None)
    assert drawers.of(one, None) is not kept
