"""How a user who called the command by its whole path gets it onto the PATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from synfarm.cli.on_path import activation


def _environment(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    for name in ("synfarm", "activate"):
        (folder / "bin" / name).touch(mode=0o755)
    return folder


def test_told_unless_the_command_is_the_one_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = _environment(tmp_path / "my env"), _environment(tmp_path / "other")
    line = f"source '{mine}/bin/activate'"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert activation(mine) == line
    monkeypatch.setenv("PATH", f"{other}/bin")
    assert activation(mine) == line
    links = tmp_path / "links"
    links.mkdir()
    (links / "synfarm").symlink_to(mine / "bin" / "synfarm")
    for path in (mine / "bin", links):
        monkeypatch.setenv("PATH", str(path))
        assert activation(mine) is None


def test_nothing_is_told_where_nothing_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert activation(tmp_path / "no environment") is None
