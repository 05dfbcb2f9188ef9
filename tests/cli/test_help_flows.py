"""Help is as wide as the screen: a docstring's line ends are the code's affair."""

from __future__ import annotations

from typer.testing import CliRunner

from synfarm.cli.app import app


def test_paragraphs_of_the_help_flow() -> None:
    told = CliRunner().invoke(app, ["gc", "--help"], env={"COLUMNS": "90", "TERM": "dumb", "NO_COLOR": "1"}).output
    lines = [line.strip() for line in told.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("Without --delete"))
    paragraph = lines[start : lines.index("", start)]
    assert len(paragraph) > 2
    assert all(len(line) > 70 for line in paragraph[:-1]), paragraph
