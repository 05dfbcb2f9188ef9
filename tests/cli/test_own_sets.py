"""`synfarm concepts upload` and `delete`: a set of one's own from file to job, and what cannot be one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.pages import ConceptSet, ConceptSetInfo, ConceptSetList
from synfarm.contracts.views import JobPlan

pytestmark = pytest.mark.integration


def test_a_set_is_uploaded_listed_used_replaced_and_deleted(farm: Any, tmp_path: Path) -> None:
    mine, yards = tmp_path / "my pets.txt", tmp_path / "yards.json"
    mine.write_text("dog: puppy\nrabbit\ncat\n")
    yards.write_text('{"Dog": ["a snowy yard"]}')
    done = farm.run("concepts", "upload", mine, "--title", "My pets", "--backgrounds", yards)
    assert (done.exit_code, done.stdout) == (0, "my-pets\n"), done.stderr
    assert "3 concepts. Make a job of them: synfarm jobs submit --set my-pets" in done.stderr

    listed = ConceptSetList.from_bytes(farm.run("concepts", "list", "--json").stdout)
    assert [info.name for info in listed.items if info.own] == ["my-pets"]
    assert "yours: My pets" in farm.run("concepts", "list").stdout
    shown = farm.run("concepts", "show", "my-pets")
    assert "puppy" in shown.stdout
    assert "3 concepts in a set of yours." in shown.stderr
    assert "48 concepts.\n" in farm.run("concepts", "show", "demo").stderr
    assert "my-pets" in farm.run("concepts", "find", "rabbit").stdout
    found = ConceptSet.from_bytes(farm.run("concepts", "show", "my-pets", "--json").stdout)
    assert (found.own, found.title, found.backgrounds) == (True, "My pets", {"Dog": ("a snowy yard",)})

    plan = JobPlan.from_bytes(farm.run("jobs", "submit", "--set", "my-pets", "--dry-run", "--json").stdout)
    assert plan.spec.recipe is not None
    assert (plan.spec.recipe.concepts, plan.spec.captions) == (3, 30)
    shares = "my-pets=0.5,demo=0.5"
    assert farm.run("jobs", "submit", "--mix", shares, "--captions", "8", "--dry-run").exit_code == 0
    assert farm.run("captions", "try", "--set", "my-pets", "-n", "2").exit_code == 0

    again = farm.run("concepts", "upload", "-", "--name", "my-pets", "--json", stdin=b'["dog", "cat"]')
    assert ConceptSetInfo.from_bytes(again.stdout).concepts == 2
    gone = farm.run("concepts", "delete", "my-pets")
    assert (gone.exit_code, gone.stdout) == (0, "set my-pets: deleted\n")
    assert farm.run("concepts", "delete", "my-pets").exit_code == 4
    left = ConceptSetList.from_bytes(farm.run("concepts", "list", "--json").stdout)
    assert not any(info.own for info in left.items)


@pytest.mark.parametrize(
    ("content", "arguments", "told"),
    [
        ("", (), "is empty"),
        ("dog\nDog\n", (), "line 2"),
        ('["dog", "DOG"]', (), "concept 2"),
        ("dog\n", ("--name", "in1k"), "--name: Concept set 'in1k' is one that every user of the farm has"),
        ("dog\n", ("--name", "../x"), "--name: '../x' cannot be a name"),
        ("dog\n", ("--title", "a\x07b"), "title"),
    ],
)
def test_what_cannot_be_a_set_is_told(
    farm: Any, tmp_path: Path, content: str, arguments: tuple[str, ...], told: str
) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(content)
    done = farm.run("concepts", "upload", file, *arguments)
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert "/v1" not in done.stderr


def test_backgrounds_of_no_concept_are_told(farm: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("dog\n")
    (tmp_path / "yards.json").write_text(json.dumps({"dgo": ["a yard"]}))
    done = farm.run("concepts", "upload", tmp_path / "mine.txt", "--backgrounds", tmp_path / "yards.json")
    assert done.exit_code == 2, done.output
    assert "no list is of a concept of this request; the first is of 'dgo'. Did you mean dog?" in done.stderr


def test_a_set_that_ships_cannot_be_deleted(farm: Any) -> None:
    done = farm.run("concepts", "delete", "in1k")
    assert done.exit_code == 2, done.output
    assert "nobody can delete it. `synfarm concepts list` marks" in done.stderr
    assert farm.run("concepts", "show", "in1k").exit_code == 0


def test_another_user_s_set_is_none(farm: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("dog\n")
    assert farm.run("concepts", "upload", tmp_path / "secret.txt").exit_code == 0
    for command in (("concepts", "show"), ("concepts", "delete")):
        done = farm.run(*command, "secret", SYNFARM_API_KEY=farm.strangers_key)
        assert done.exit_code == 4, done.output
    submit = farm.run("jobs", "submit", "--set", "secret", "--dry-run", SYNFARM_API_KEY=farm.strangers_key)
    assert submit.exit_code == 2
    assert "There is no concept set 'secret'." in submit.stderr
    assert farm.run("concepts", "delete", "secret").exit_code == 0
