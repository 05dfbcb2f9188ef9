"""What `synfarm render compare` refuses before it starts anything, and what it tells of a process that failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from synfarm.cli.columns import planned_columns
from synfarm.cli.comparison_child import run_comparison
from synfarm.cli.exits import CommandFailed
from synfarm.contracts.comparisons import ComparisonPlan

TWO = ("--preset", "paper", "--preset", "fast")
SETTINGS = {"model": "m", "size": 64, "revision": None, "render_size": None}


@pytest.fixture
def compare(run: Callable[..., Result], tmp_path: Path) -> Callable[..., Result]:
    """With captions and a model, if no others are given."""
    (tmp_path / "captions.txt").write_text("a dog\n", encoding="utf-8")
    (tmp_path / "models" / "tiny").mkdir(parents=True)

    def compared(*more: str | Path, file: str = "captions.txt", model: str = "tiny", models: str = "models") -> Result:
        words = ("render", "compare", tmp_path / file, "--model", model, "--models", tmp_path / models)
        return run(*words, "-o", tmp_path / "out", *more)

    return compared


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Missing option '--preset'"),
        (("--preset", "paper"), "--preset: name two at least"),
        (("--preset", "paper", "--preset", "fats"), "'fats': there is no such preset. Did you mean fast?"),
        (("--preset", "paper", "--preset", "x"), "'x': there is no such preset; there are paper, balanced, fast"),
        (("--preset", "fast", "--preset", "fast"), "'fast' stands there twice; give the other a name: other=fast"),
        ((*TWO, "--set", "fast.step=20"), "'step' cannot be set. Did you mean steps?"),
        ((*TWO, "--set", "turbo.steps=20"), "'turbo' is not among the presets; there are paper, fast."),
        ((*TWO, "--set", "fast.steps"), "write PRESET.FIELD=VALUE, for example fast.steps=20"),
        ((*TWO, "--set", "fast.steps=many"), "--set fast.steps: must be a valid integer"),
        ((*TWO, "--set", "fast.sampler=dim"), "--set fast.sampler: must be 'ddim', 'dpmpp2m'"),
        ((*TWO, "--render-size", "8"), "--render-size: must be greater than or equal to 32"),
        ((*TWO, "--revision", "a b"), "--revision: must be up to 100 letters"),
        ((*TWO, "--renderer", "collage"), "--renderer: collage has no model, and so no presets to compare"),
        ((*TWO, "--images", "1"), "'--images'"),
        (("--preset", "Big=paper", "--preset", "fast"), "--preset 'Big': its name must be up to 40 small letters"),
    ],
)
def test_what_is_wrong_is_told_with_its_option(compare: Callable[..., Result], words: Any, told: str) -> None:
    done = compare(*words)
    assert done.exit_code == 2, done.output
    assert told in " ".join(done.stderr.split())


def test_captions_that_are_none_are_refused(compare: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "latin.txt").write_bytes("a café".encode("latin-1"))
    for file, told in (
        ("empty.txt", "is empty: write one caption"),
        ("latin.txt", "is no UTF-8"),
        ("none", "cannot be"),
    ):
        done = compare(*TWO, file=file)
        assert (done.exit_code, told in done.stderr) == (2, True), done.stderr
    (tmp_path / "long.txt").write_text("dog " * 1001)
    done = compare(*TWO, file="long.txt")
    assert (done.exit_code, "captions: 0: must have at most 4000 characters" in done.stderr) == (2, True), done.stderr


def test_a_model_that_is_not_there_is_told_before_a_process_starts(
    compare: Callable[..., Result], tmp_path: Path
) -> None:
    done = compare(*TWO, model="tniy")
    assert (done.exit_code, "Did you mean tiny?" in done.stderr) == (2, True), done.stderr
    done = compare(*TWO, model="owner/name")
    assert "a model of the hub needs --revision COMMIT" in done.stderr
    done = compare(*TWO, models="nowhere")
    assert "there is no such folder" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_named_as_a_path_is_told_the_way(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shelf" / "tiny").mkdir(parents=True)
    (tmp_path / "c.txt").write_text("a dog\n")
    monkeypatch.chdir(tmp_path)
    done = run("render", "compare", "c.txt", "--model", "shelf/tiny", *TWO, "-o", "out", env={})
    assert f"--models {tmp_path / 'shelf'} --model tiny" in done.stderr


def test_a_result_that_has_no_place_is_refused_before_anything_is_drawn(
    compare: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    done = compare(*TWO)
    assert (done.exit_code, "--output" in done.stderr) == (2, True), done.stderr


def test_columns_have_their_preset_and_what_was_set() -> None:
    columns = planned_columns(
        ["paper", "lcm=turbo"], ["lcm.lora=owner/lcm@abc", "lcm.guidance=1.5", "paper.model=other"], SETTINGS
    )
    paper, lcm = (column.render for column in columns)
    assert (paper.model, paper.steps, paper.lora) == ("other", 50, None)
    assert lcm.lora is not None
    assert (lcm.model, lcm.steps, lcm.guidance, lcm.lora.model, lcm.lora.revision) == ("m", 4, 1.5, "owner/lcm", "abc")


def test_a_revision_is_not_taken_over_to_another_model() -> None:
    columns = planned_columns(["paper", "fast"], ["fast.model=other"], {**SETTINGS, "revision": "abc"})
    assert [column.render.revision for column in columns] == ["abc", None]


def test_more_images_than_fit_the_memory_are_refused(compare: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("a dog\n" * 1000)
    done = compare(*TWO, "--captions", "1000", "--size", "2048", file="many.txt")
    assert (done.exit_code, "captions: their images would fill 46 GiB of memory; take at most 42" in done.stderr) == (
        2,
        True,
    ), done.stderr


_STUBS = {
    "fails": "print('round 1', flush=True); sys.stdin.read(); sys.exit('noise\\ncompare: no GPU here')",
    "dies": "sys.stdin.read(); os._exit(9)",
    "reads_nothing": "sys.exit('compare: bad plan')",
}


@pytest.mark.parametrize(
    ("stub", "told"),
    [
        ("fails", "drawn: no GPU here"),
        ("dies", "it ended with code 9 and gave no reason"),
        ("reads_nothing", "bad plan"),
    ],
)
def test_a_process_that_fails_is_told_by_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: str, told: str
) -> None:
    (tmp_path / f"{stub}.py").write_text(f"import os, sys\n{_STUBS[stub]}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    plan = ComparisonPlan(captions=("a dog" * 700,) * 200, columns=planned_columns(["paper", "fast"], (), SETTINGS))
    lines: list[str] = []
    with pytest.raises(CommandFailed, match=told):
        run_comparison(stub, plan, tmp_path, None, lines.append)
    assert lines == (["round 1"] if stub == "fails" else [])
