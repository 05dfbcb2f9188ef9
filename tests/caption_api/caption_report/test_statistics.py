"""The report's numbers against ones counted by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.origins import Template
from synfarm_caption_api.caption_report.likeness import near_duplicates
from synfarm_caption_api.caption_report.statistics import concept_spread, distinct, template_counts, word_counts

Make = Callable[..., JobSpec]


def test_lengths() -> None:
    found = word_counts([["a"] * n for n in (3, 5, 5, 7, 100)])
    assert found is not None
    assert (found.mean, found.median, found.p95, found.histogram) == (24.0, 5, 100, {3: 1, 5: 2, 7: 1, 100: 1})
    assert word_counts([]) is None


def test_distinct_grams() -> None:
    found = distinct([["a", "red", "dog"], ["a", "red", "cat"]])
    assert found is not None
    assert (found.distinct_1, found.distinct_2, found.distinct_3) == (0.6667, 0.75, 1.0)
    assert distinct([]) is None


def test_distinct_is_taken_over_a_thousand_captions_evenly() -> None:
    texts = [["same", "words"]] * 1500 + [[f"word{i}", "alone"] for i in range(1500)]
    found = distinct(texts)
    assert found is not None
    assert found.captions == 1000
    assert found.distinct_2 == pytest.approx(501 / 1000, abs=0.01)


def test_concepts_most_fewest_hardest_and_how_even(make_spec: Make, writer: Any) -> None:
    spec = make_spec(concepts=["dog", "owl", "tench"], captions=12)
    texts = ["a dog", "an owl", None, "a dog", "an owl", "a tench", "a dog", None, None, "a dog", "an owl", None]
    records = [writer.record(spec, i, text) for i, text in enumerate(texts)]
    found = concept_spread(records)
    assert (found.planned, found.kept) == (3, 3)
    assert [(c.concept, c.planned, c.kept, c.draws) for c in found.most] == [
        ("dog", 4, 4, 4),
        ("owl", 4, 3, 12),
        ("tench", 4, 1, 28),
    ]
    assert [c.concept for c in found.fewest] == ["tench", "owl"]
    assert [c.concept for c in found.hardest] == ["tench", "owl"]
    assert found.evenness == pytest.approx(0.8868, abs=1e-4)
    assert concept_spread(records[:2]).evenness == 1.0
    assert concept_spread([]).evenness == 1.0


def test_templates_and_how_many_take_up_their_second_field(make_spec: Make, writer: Any) -> None:
    spec = make_spec(concepts=["dog"], captions=6)

    def made(index: int, text: str | None, template: Template, second: str | None) -> CaptionRecord:
        record: CaptionRecord = writer.record(spec, index, text, template=template, second=second)
        return record

    found = template_counts(
        [
            made(0, "a dog on a beach", Template.CONCEPT, None),
            made(1, "a dog on snowy slopes", Template.BACKGROUND, "snowy slope"),
            made(2, "a dog on a bed", Template.BACKGROUND, "kitchen"),
            made(3, None, Template.BACKGROUND, "kitchen"),
            made(4, "a dog next to a box", Template.RELATION, "next to"),
        ]
    )
    assert list(found) == ["c", "c,bg", "c,rel"]
    assert (found["c"].kept, found["c"].second_named) == (1, None)
    assert (found["c,bg"].planned, found["c,bg"].kept, found["c,bg"].draws) == (3, 2, 11)
    assert (found["c,bg"].second_named, found["c,rel"].second_named) == (0.5, 1.0)


def _random_text(choose: random.Random) -> str:
    words = [f"{a}{b}" for a in ("ber", "cor", "dal", "fen", "gor", "hul", "jam") for b in ("bo", "den", "ki", "lor")]
    return " ".join(choose.sample(words, 10))


def test_near_duplicates_across_units_are_estimated_for_the_whole_job(make_spec: Make, writer: Any) -> None:
    """A job of 4,000 captions drawn from 500 sayings has 8 of each: 7 twins a caption. A tenth of it is read."""
    choose = random.Random(3)
    sayings = [_random_text(choose) for _ in range(500)]
    spec = make_spec(concepts=["dog"], captions=4000, captions_per_unit=4)
    order = [sayings[i % 500] for i in range(4000)]
    choose.shuffle(order)
    units = [
        [writer.record(spec, i, f"a dog {order[i]}") for i in spec.unit_range(unit)] for unit in range(0, 1000, 10)
    ]
    found = near_duplicates(units, written=4000)
    assert found.captions == 400
    assert found.twins_per_caption == pytest.approx(7, rel=0.25)
    assert found.twins_at_most is not None
    assert found.twins_at_most > 7
    assert 0.2 < found.share < 0.5


def test_what_differs_in_concept_or_background_is_no_near_duplicate(make_spec: Make, writer: Any) -> None:
    spec = make_spec(concepts=["dog", "owl", "tench", "rose"], captions=400, captions_per_unit=4)
    text = "a small brown {} lies on a red sofa beside a window at night in the {}"
    units = [
        [
            writer.record(
                spec,
                index,
                text.format(spec.concepts[index % 4].name, f"place{unit}"),
                template=Template.BACKGROUND,
                second=f"place{unit}",
            )
            for index in spec.unit_range(unit)
        ]
        for unit in range(100)
    ]
    found = near_duplicates(units, written=400)
    assert (found.captions, found.pairs, found.twins_per_caption) == (400, 0, 0.0)
    assert found.twins_at_most is not None
    assert 0 < found.twins_at_most < 0.1


def test_one_unit_says_nothing_of_others(make_spec: Make, writer: Any) -> None:
    spec = make_spec(concepts=["dog"], captions=8)
    unit = [writer.record(spec, i, "a dog on a beach") for i in range(8)]
    found = near_duplicates([unit], written=8)
    assert (found.repeats, found.twins_per_caption, found.twins_at_most) == (0, None, None)
    assert near_duplicates([], written=0).share == 0.0
