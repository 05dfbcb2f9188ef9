"""The page's table of presets is what the code says of them."""

from __future__ import annotations

from pathlib import Path

from synfarm_trainer.presets import preset_names, preset_of, resolve
from synfarm_trainer.presets.told import step_counts

PAGE = Path(__file__).parents[2] / "docs" / "05-training.md"


def row(name: str) -> str:
    counts, steps = step_counts(resolve(name)), resolve(name).schedule.steps
    numbers = (f"{count:,}" for count in (counts.captions, counts.global_crops, counts.local_crops, steps))
    return "| " + " | ".join((f"`{name}`", preset_of(name).about, *numbers)) + " |"


def test_the_table_of_presets_is_that_of_the_code() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| preset | for |"))
    names = preset_names()
    assert lines[start + 2 : start + 2 + len(names)] == [row(name) for name in names]
    assert not lines[start + 2 + len(names)].startswith("|")
