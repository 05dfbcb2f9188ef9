"""`synfarm eval` and `synfarm runs export`: what they hand to the trainer, and what they make of its answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from synfarm.cli import backbone_export, evaluate, trainer_child
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.contracts.evaluations import ProbeReport, ProbeScore

RUN = "01k" + "0" * 22 + "3"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words that a child would be started with; it leaves a report."""
    words: list[list[str]] = []

    def child(part: str, given: list[str], environment: dict[str, str], tell: Callable[[str], None]) -> None:
        words.append([part, *given])
        tell("half of it")
        scores = [
            ProbeScore(
                network="pixels",
                labelled=name,
                probe=by,
                metric="top1",
                score=score,
                train_images=9,
                test_images=3,
                classes=2,
                details=details,
            )
            for name, by, score, details in (
                ("food101", "logistic", 0.5, {}),
                ("mine", "logistic", 0.25, {}),
                ("mine", "sgd", 0.75, {"best": 0.875, "best_epoch": 20}),
            )
        ]
        report = ProbeReport(scores=tuple(scores), paper={"SynCLR B/16": {"food101": 91.6}})
        Path(given[given.index("--out") + 1]).write_bytes(report.to_bytes())

    monkeypatch.setattr(evaluate, "run_trainer_part", child)
    return words


def test_scores_stand_in_a_table_with_the_papers_below(run: Callable[..., Result], asked: list[list[str]]) -> None:
    words = ("eval", "probe", "pixels", "timm:x=w.safetensors", "--set", "food101=/f", "--set", "mine=/m")
    done = run(*words, "--by", "logistic", "--by", "sgd", "--train-images", "9", "--augment")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert rows == [
        ["network", "by", "food101", "mine"],
        ["pixels", "logistic", "50.0", "25.0"],
        ["pixels", "sgd", "–", "75.0"],
        ["SynCLR", "B/16", "(paper)", "91.6", "–"],
    ]
    assert "sgd: best 87.5 at epoch 20, chosen on the test images" in " ".join(done.stderr.split())
    part, what, *given = asked[0]
    assert (part, what, given[:4]) == ("probing", "probe", ["--network", "pixels", "--network", "timm:x=w.safetensors"])
    assert {"--augment", "--train-images", "9", "food101=/f", "mine=/m"} <= set(given)
    as_json = run(*words, "--json")
    assert json.loads(as_json.stdout)["scores"][2]["details"]["best_epoch"] == 20


def test_what_cannot_be_is_refused_before_anything_starts(
    run: Callable[..., Result], asked: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("eval", "features", "pixels", "--set", "a=/b", "--to", tmp_path / "x.csv")
    assert (done.exit_code, "must end in .safetensors or .npz" in done.stderr) == (2, True)
    done = run("eval", "features", "pixels", "--set", "a=/b", "--to", tmp_path / "no" / "x.npz")
    assert (done.exit_code, "there is no folder" in done.stderr) == (2, True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = run("runs", "export", RUN, "--to", tmp_path / "full")
    assert (done.exit_code, "is not empty" in done.stderr) == (2, True)
    monkeypatch.chdir(tmp_path)
    done = run("eval", "probe", RUN, "--set", "a=/b")
    assert (done.exit_code, "no object store found" in done.stderr) == (3, True)
    assert asked == []
    assert backbone_export.run_trainer_part is trainer_child.run_trainer_part


@pytest.mark.parametrize(("code", "wanted"), [(2, ExitCode.REFUSED), (3, ExitCode.UNREACHABLE), (4, ExitCode.FAILED)])
def test_a_child_that_fails_is_told_by_its_last_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, wanted: ExitCode
) -> None:
    package = tmp_path / "part.py"
    package.write_text(f"import sys; print('one'); sys.stderr.write('noise\\neval: no such set\\n'); sys.exit({code})")
    monkeypatch.setattr(trainer_child, "find_spec", lambda name: object())
    monkeypatch.setattr(trainer_child, "_PACKAGE", "synfarm_parts")
    (tmp_path / "synfarm_parts").mkdir()
    package.rename(tmp_path / "synfarm_parts" / "part.py")
    lines: list[str] = []
    with pytest.raises(CommandFailed, match=r"^no such set\.$") as caught:
        trainer_child.run_trainer_part("part", [], {"PYTHONPATH": str(tmp_path)}, lines.append)
    assert (caught.value.code, lines) == (wanted, ["one"])
    monkeypatch.setattr(trainer_child, "find_spec", lambda name: None)
    with pytest.raises(CommandFailed, match=r"pip install 'synfarm\[trainer\]'"):
        trainer_child.run_trainer_part("part", [], {}, lines.append)
