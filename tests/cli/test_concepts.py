"""`synfarm captions` and `synfarm concepts` against the real API, with a stand-in for the language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.pages import ConceptSet
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


def test_concept_sets_are_listed_and_shown(farm: Any) -> None:
    names = farm.run("concepts", "list").stdout.split()
    assert {"collage", "demo"} <= set(names)
    assert json.loads(farm.run("concepts", "list", "--json").stdout) == names
    shown = farm.run("concepts", "show", "demo")
    assert "48 concepts." in shown.stderr
    assert "dog" in shown.stdout


def test_a_set_can_be_searched(farm: Any) -> None:
    found = ConceptSet.from_bytes(farm.run("concepts", "show", "collage", "--find", "Guitar", "--json").stdout)
    assert "guitar" in {concept.name for concept in found.concepts}
    assert len(found.concepts) < 20
    nothing = farm.run("concepts", "show", "collage", "--find", "xyzzy")
    assert nothing.exit_code == 0
    assert "Nothing in collage holds 'xyzzy'." in nothing.stderr
