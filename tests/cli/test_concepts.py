"""`synfarm captions` and `synfarm concepts` against the real API, with a stand-in for the language model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.pages import ConceptSet, ConceptSetList
from synfarm.contracts.tries import TryAnswer

pytestmark = pytest.mark.integration


def test_a_try_shows_captions_and_what_was_refused(farm: Any) -> None:
    done = farm.run("captions", "try", "dog", "owl", "-n", "3", "--seed", "1")
    assert done.exit_code == 0, done.stderr
    assert "concept_lost" in done.stdout
    assert "of 6 kept; written by stub" in done.stderr
    answer = TryAnswer.from_bytes(farm.run("captions", "try", "dog", "owl", "-n", "3", "--seed", "1", "--json").stdout)
    assert [item.concept for item in answer.items if item.refused == "concept_lost"].count("owl") == 3
    assert any(item.text and "dog" in item.text for item in answer.items)


def test_a_try_is_the_same_again_and_another_with_another_seed(farm: Any) -> None:
    def texts(seed: int) -> list[str]:
        done = farm.run("captions", "try", "dog", "--seed", str(seed), "--json")
        return [item.answer for item in TryAnswer.from_bytes(done.stdout).items]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_prompts_are_shown_when_asked_for(farm: Any) -> None:
    shown = farm.run("captions", "try", "dog", "-n", "1", "--prompts")
    assert "dog =>" in shown.stdout
    assert "dog =>" not in farm.run("captions", "try", "dog", "-n", "1").stdout


def test_a_try_takes_a_file(farm: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("dog: puppy\napple\n")
    answer = TryAnswer.from_bytes(farm.run("captions", "try", "-f", mine, "-n", "1", "--json").stdout)
    assert {item.concept for item in answer.items} == {"dog", "apple"}


def test_a_set_that_is_not_there(farm: Any) -> None:
    done = farm.run("concepts", "show", "nothing")
    assert done.exit_code == 4
    assert "There is no concept set 'nothing'; there are: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("captions", "try"), "no concepts given"),
        (("captions", "try", "dog", "dog"), "dog"),
        (("captions", "try", "dog", "--temperature", "9"), "temperature"),
        (("captions", "try", *(f"thing {i}" for i in range(20))), "concepts"),
    ],
)
def test_bad_input_is_told(farm: Any, arguments: tuple[str, ...], told: str) -> None:
    done = farm.run(*arguments)
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert "Traceback" not in done.output


def test_concept_sets_are_listed_with_their_sizes_and_shown(farm: Any) -> None:
    listed = ConceptSetList.from_bytes(farm.run("concepts", "list", "--json").stdout)
    assert {"collage", "demo", "in1k"} <= {info.name for info in listed.items}
    shown = farm.run("concepts", "list").stdout
    for info in listed.items:
        assert re.search(rf"^{info.name} +{info.concepts} +{info.kinds[0].value} ", shown, re.MULTILINE), shown
    shown = farm.run("concepts", "show", "demo")
    assert "48 concepts." in shown.stderr
    assert "dog" in shown.stdout


def test_a_concept_is_found_across_sets(farm: Any) -> None:
    found = farm.run("concepts", "find", "Goldfinch", "--json")
    sets = [ConceptSet.model_validate(item) for item in json.loads(found.stdout)]
    assert {"in1k", "in21k"} <= {each.name for each in sets}
    words = [" ".join((c.name, *c.synonyms)).casefold() for each in sets for c in each.concepts]
    assert all("goldfinch" in word for word in words)
    told = farm.run("concepts", "find", "Goldfinch")
    assert f"{len(words)} concepts in {len(sets)} sets." in told.stderr
    assert re.search(r"^in1k +goldfinch", told.stdout, re.MULTILINE)
    nothing = farm.run("concepts", "find", "xyzzy")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "No set holds 'xyzzy'." in nothing.stderr


def test_a_try_takes_sets_templates_backgrounds_and_examples(farm: Any, tmp_path: Path) -> None:
    yards = tmp_path / "yards.json"
    yards.write_text('["a snowy yard"]')
    pool = tmp_path / "pool.csv"
    rows = "".join(f"background,pot {n},a shed,a pot of kind {n} in a dusty shed\n" for n in range(4))
    pool.write_text("pool,concept,second,caption\n" + rows)
    own = ("--templates", "c,bg", "--backgrounds", yards, "--examples", pool, "--examples-use", "replace")
    done = farm.run("captions", "try", "dog", "-n", "2", *own, "--prompts", "--layout", "subject")
    assert done.exit_code == 0, done.stderr
    assert "Subject: dog, a snowy yard. Caption:" in done.stdout
    assert "in a dusty shed" in done.stdout
    assert re.search(r"dog +c,bg +a snowy yard", done.stdout)
    mixed = TryAnswer.from_bytes(farm.run("captions", "try", "--mix", "demo=0.5,dtd=0.5", "-n", "24", "--json").stdout)
    assert len(mixed.items) == 24
    assert {"c", "c,rel"} <= {item.template.value for item in mixed.items}
    assert len(TryAnswer.from_bytes(farm.run("captions", "try", "--set", "demo", "--json").stdout).items) == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("dog", "--set", "demo"), "concepts and --set exclude each other"),
        (("--mix", "paper", "--variant", "ours"), "--mix and --variant exclude each other"),
        (("--variant", "cc12m"), "variant cc12m are captions of your own; there is no prompt to try"),
        (("--variant", "IN+h+Places"), "--variant: Captions of variant 'IN+h+Places' are joined words"),
        (("--set", "demmo"), "--set: There is no concept set 'demmo'. Did you mean demo?"),
        (("dog", "--templates", "c,bg=1"), "--templates: Template 'c,bg' needs backgrounds, and 1 concept has none"),
        (("dog", "cat", "-n", "40"), "At most 64 captions at once"),
    ],
)
def test_a_try_that_cannot_be_is_told(farm: Any, arguments: tuple[str, ...], told: str) -> None:
    done = farm.run("captions", "try", *arguments)
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert "/v1" not in done.stderr


def test_a_set_can_be_searched(farm: Any) -> None:
    found = ConceptSet.from_bytes(farm.run("concepts", "show", "collage", "--find", "Guitar", "--json").stdout)
    assert "guitar" in {concept.name for concept in found.concepts}
    assert len(found.concepts) < 20
    nothing = farm.run("concepts", "show", "collage", "--find", "xyzzy")
    assert nothing.exit_code == 0
    assert "Nothing in collage holds 'xyzzy'." in nothing.stderr
