"""A table of answers, many of the kinds that SmolLM2-135M and chat models give, each with what the gate makes of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import CaptionSettings
from synfarm_caption_api.gate import clean, refuse

ROWS = [json.loads(line) for line in Path(__file__).with_name("texts.jsonl").read_text(encoding="utf-8").splitlines()]
SETTINGS = CaptionSettings()


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['reason']}-{i}" for i, row in enumerate(ROWS)])
def test_an_answer_is_judged_as_a_person_would(row: dict[str, Any]) -> None:
    concept = Concept(name=row["concept"], synonyms=row.get("synonyms", ()))
    caption = clean(row["text"], SETTINGS, truncated=row.get("finish") == "length")
    found = refuse(caption, concept, row.get("examples", ["two otters on a rock"]), SETTINGS)
    assert (found and found.value) == row["reason"], caption


def test_the_table_has_rows_for_every_reason_of_a_single_text() -> None:
    counts = Counter(row["reason"] for row in ROWS)
    judged = {"empty", "too_short", "too_long", "concept_lost", "repeats", "prompt_leak", "unfinished", "refusal"}
    assert set(counts) == {None, "non_language"} | judged
    assert len(ROWS) > 150
