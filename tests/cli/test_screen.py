"""What goes to the screen is other people's words: it is shown as it is."""

from __future__ import annotations

import pytest

from synfarm.cli.screen import output
from synfarm.cli.tables import table


@pytest.mark.parametrize("text", ["a dog [red] on grass", "a dog [/b] on grass", "[place]"])
def test_brackets_are_no_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("concept", "caption")
    rows.add_row("dog", text)
    output().print(rows)
    assert text in capsys.readouterr().out
