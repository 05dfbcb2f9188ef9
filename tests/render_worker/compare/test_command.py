"""`synfarm render compare` and the process that it starts, on a tiny pipeline: files, progress, what is refused."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from synfarm.cli.app import app
from synfarm.contracts.comparisons import Comparison, ComparisonPlan
from synfarm_render_worker.compare import __main__ as command
from synfarm_render_worker.compare.picture import MOST_ROWS, grid

CAPTIONS = ("a dog", "two red cars")


@pytest.fixture
def model(models: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a model in the worker's folder of models."""
    monkeypatch.setenv("SYNFARM_RENDER_MODELS", str(models))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return "sd"


def plan(model: str, **changes: Any) -> ComparisonPlan:
    base: dict[str, Any] = {"renderer": "diffusers", "model": model, "family": "compare", "size": 32}
    columns = [{"name": f"steps-{steps}", "render": {**base, "steps": steps}} for steps in (4, 1)]
    return ComparisonPlan.model_validate({"captions": CAPTIONS, "columns": columns, **changes})


def run(wanted: bytes, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(wanted)))
    return command.main(["--out", str(out)])


@pytest.mark.integration
@pytest.mark.slow
def test_the_command_writes_numbers_and_a_picture(model: str, tmp_path: Path) -> None:
    captions, out = tmp_path / "captions.txt", tmp_path / "deep" / "out"
    captions.write_text("a dog\n\n  two   red cars\nan owl\n", encoding="utf-8")
    words = ["render", "compare", captions, "--model", model, "--preset", "smoke", "--preset", "half=smoke"]
    words += ["--set", "half.steps=1", "--captions", 2, "--size", 32, "--seed", 5, "-o", out]
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    found = Comparison.from_bytes((out / "compare.json").read_bytes())
    assert (found.captions, found.images, found.seed) == (CAPTIONS, 2, 5)
    assert [(column.name, column.render.steps, column.network_passes) for column in found.columns] == [
        ("smoke", 2, 4.0),
        ("half", 1, 2.0),
    ]
    assert found.contrasts[0].distances["grey"] > 0.1
    assert sorted(path.name for path in out.iterdir()) == ["compare.json", "compare.webp"]
    with Image.open(out / "compare.webp") as picture:
        assert picture.format == "WEBP"
        assert picture.width > 2 * 128
    table = [line for line in done.stdout.splitlines() if line.startswith(("preset", "smoke", "half"))]
    assert [line.split()[0] for line in table] == ["preset", "smoke", "half"] * (1 + len(found.measures))
    assert max(map(len, table)) <= 80
    assert "round 1 of 1" in done.stderr


def test_what_cannot_be_drawn_leaves_no_file(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = plan("missing").to_bytes()
    assert run(missing, tmp_path, monkeypatch) == 4
    assert "missing" in capsys.readouterr().err.splitlines()[-1]
    assert run(b"{}", tmp_path, monkeypatch) == 2
    assert capsys.readouterr().err.startswith("compare: ")
    assert run(plan(model).to_bytes(), tmp_path / "none", monkeypatch) == 2
    assert "none" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_files_are_written_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, files = Path.write_bytes, {tmp_path / "a": b"1", tmp_path / "b": b"2"}

    def full(path: Path, data: bytes) -> int:
        if data == b"2":
            raise OSError("no space left")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="no space"):
            command._write(files)
    assert list(tmp_path.iterdir()) == []
    command._write(files)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_picture_stays_within_what_the_format_allows() -> None:
    shades = [[np.full((64, 64, 3), shade, np.uint8)] * 200 for shade in (10, 200)]
    captions = ["a very long caption of many words that does not fit beside its images at all " * 3] * 200
    with Image.open(io.BytesIO(grid(captions, [("paper", "100 passes"), ("fast",)], shades))) as picture:
        assert picture.height < 128 * (MOST_ROWS + 2) + 8 * MOST_ROWS
        assert picture.getpixel((220 + 64, picture.height - 64)) == pytest.approx((10, 10, 10), abs=3)
        assert picture.getpixel((220 + 136 + 64, picture.height - 64)) == pytest.approx((200, 200, 200), abs=3)
