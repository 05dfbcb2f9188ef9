"""`synfarm backgrounds` against the real API, with a stand-in for the language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.jobs import JobRequest

MAKE = ("backgrounds", "make")


def lists(file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(file.read_text())
    return found


@pytest.mark.integration
def test_settings_are_made_and_fit_a_job(farm: Any, tmp_path: Path) -> None:
    out = tmp_path / "backgrounds.json"
    done = farm.run(*MAKE, "dog", "red panda: firefox", "-n", "12", "-o", out)
    assert done.exit_code == 0, done.output
    made = lists(out)
    assert {name: len(settings) for name, settings in made.items()} == {"dog": 12, "red panda": 12}
    assert len(set(made["dog"])) == 12
    assert "2/2] " in done.stderr
    assert "24 settings of 2 concepts; 24 settings of " in done.stderr
    assert "written by stub" in done.stderr
    JobRequest.model_validate({"concepts": list(made), "captions": 4, "backgrounds": made})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backgrounds.json"]


@pytest.mark.integration
def test_it_is_the_same_again_and_another_with_another_seed(farm: Any, tmp_path: Path) -> None:
    def made(name: str, seed: int) -> dict[str, list[str]]:
        assert farm.run(*MAKE, "dog", "-n", "9", "--seed", str(seed), "-o", tmp_path / name).exit_code == 0
        return lists(tmp_path / name)

    assert made("a", 1) == made("b", 1)
    assert made("a", 1) != made("c", 2)


@pytest.mark.integration
def test_called_again_it_goes_on_with_what_is_missing_or_short(farm: Any, tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    out.write_text(json.dumps({"Dog": ["attic", "back yard"], "kettle": ["stove", "shelf", "sink"], "old": ["barn"]}))
    done = farm.run(*MAKE, "dog", "kettle", "cat", "-n", "3", "-o", out)
    assert done.exit_code == 0, done.output
    assert "1 of 3 concepts have 3 settings already; they are kept" in done.stderr
    made = lists(out)
    assert list(made) == ["Dog", "kettle", "old", "cat"]
    assert made["Dog"][:2] == ["attic", "back yard"]
    assert (len(made["Dog"]), made["kettle"], made["old"]) == (3, ["stove", "shelf", "sink"], ["barn"])
    assert len(made["cat"]) == 3
    before = out.read_bytes()
    again = farm.run(*MAKE, "dog", "kettle", "cat", "-n", "3", "-o", out)
    assert again.exit_code == 0
    assert "nothing was to be asked" in again.stderr
    assert out.read_bytes() == before


@pytest.mark.integration
def test_a_model_that_knows_too_few_is_told_of_and_nothing_is_made_up(farm: Any, tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    done = farm.run(*MAKE, "owl", "dog", "-n", "100", "-o", out)
    assert done.exit_code == 0, done.output
    assert "owl: 0 of 100 settings, the model has no more to say; refused: no_place" in done.stderr
    assert "concepts have fewer than 100" in done.stderr
    assert "Not in the file, for they have none: owl." in done.stderr
    made = lists(out)
    assert list(made) == ["dog"]
    assert 50 < len(made["dog"]) <= 88, "the stand-in knows 88"


@pytest.mark.integration
def test_a_file_of_concepts_a_set_and_json(farm: Any, tmp_path: Path) -> None:
    mine, out = tmp_path / "mine.txt", tmp_path / "out.json"
    mine.write_text("dog: puppy\napple\n[place]\nharbor\n")
    done = farm.run(*MAKE, "--file", mine, "-n", "4", "-o", out, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert [(item["concept"], item["settings"], item["new"], item["ended"]) for item in answer["items"]] == [
        ("dog", 4, 4, "full"),
        ("apple", 4, 4, "full"),
    ]
    assert answer["llm_model"] == "stub"
    assert "1 places and textures have no backgrounds; they are left out" in done.stderr
    of_set = farm.run(*MAKE, "--set", "demo", "-n", "1", "--rounds", "1", "-o", out, "--json")
    items = json.loads(of_set.stdout)["items"]
    assert len(items) == 48
    assert [item["ended"] for item in items if item["concept"] == "dog"] == ["kept"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('["dog"]', "holds something else than {concept: [setting, ...]}"),
        ('{"dog": "park"}', "dog: "),
        ('{"dog": ["a\\nb"]}', "must not hold control characters"),
        ("my thesis", "Invalid JSON"),
        ("", "Invalid JSON"),
        (b"\x89PNG\r\n\x1a\n", "Invalid JSON"),
    ],
)
def test_another_file_is_left_as_it_is(run: Any, tmp_path: Path, content: str | bytes, told: str) -> None:
    out = tmp_path / "thesis.txt"
    data = content if isinstance(content, bytes) else content.encode()
    out.write_bytes(data)
    done = run(*MAKE, "dog", "-o", out, "--url", "http://127.0.0.1:1")
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert f"{out}: " in done.stderr
    assert "Traceback" not in done.output
    assert out.read_bytes() == data


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no concepts given"),
        (("dog", "--set", "demo"), "--set names the concepts"),
        (("dog", "dog"), "dog"),
        (("dog", "--temperature", "9"), "temperature"),
        (("[place]", "harbor"), "places and textures have no backgrounds"),
    ],
)
def test_bad_input_is_told(run: Any, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    done = run(*MAKE, *arguments, "-o", tmp_path / "x.json", "--url", "http://127.0.0.1:1")
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_places_where_no_file_can_be(run: Any, tmp_path: Path) -> None:
    for out, told in ((tmp_path, "is no file"), (tmp_path / "no" / "x.json", "its folder is not there")):
        done = run(*MAKE, "dog", "-o", out, "--url", "http://127.0.0.1:1")
        assert (done.exit_code, told in done.stderr) == (2, True), done.output


def test_sets_with_settings_are_listed(run: Any) -> None:
    shown = run("backgrounds", "list")
    assert shown.exit_code == 0
    assert "in1k" in shown.stdout
    counts = json.loads(run("backgrounds", "list", "--json").stdout)
    assert counts["pets"] == 100
    assert "collage" not in counts


def test_settings_of_a_set_are_shown_and_searched(run: Any) -> None:
    shown = run("backgrounds", "show", "pets")
    assert "dog park" in shown.stdout
    assert "100 settings in 1 lists." in shown.stderr
    found = json.loads(run("backgrounds", "show", "in1k", "--find", "SNOW", "--json").stdout)
    assert len(found) > 1
    assert all("snow" in text.casefold() for title, settings in found.items() for text in [f"{title} {settings}"])
    nothing = run("backgrounds", "show", "pets", "--find", "xyzzy")
    assert (nothing.exit_code, "Nothing holds 'xyzzy' in pets" in nothing.stderr) == (0, True)
    none = run("backgrounds", "show", "collage")
    assert "No settings ship for collage; `synfarm backgrounds make --set collage -o FILE` makes some." in none.stderr
    missing = run("backgrounds", "show", "nothing")
    assert (missing.exit_code, "no concept set 'nothing'" in missing.stderr) == (4, True)
