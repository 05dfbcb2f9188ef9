"""The page's table of presets is what the code says of them."""

from __future__ import annotations

from pathlib import Path

from synfarm.contracts.render_presets import PRESETS, PresetName
from synfarm.contracts.render_settings import RenderSettings

PAGE = Path(__file__).parents[2] / "docs" / "04-rendering.md"


def row(name: PresetName) -> str:
    drawn = RenderSettings(renderer="diffusers", model="any", family="any", preset=name)
    guidance = f"{drawn.guidance}"
    if drawn.guidance_until < 1:
        guidance += f", for the first {drawn.guidance_until:.0%} of the steps".replace("%", " %")
    cells = (f"`{name}`", f"`{drawn.sampler}`", drawn.steps, guidance, f"{drawn.network_passes:g}")
    return "| " + " | ".join(map(str, (*cells, PRESETS[name].changes))) + " |"


def test_the_table_of_presets_is_that_of_the_code() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| preset | sampler |"))
    table = lines[start + 2 : start + 2 + len(PresetName)]
    assert table == [row(name) for name in PresetName]
    assert not lines[start + 2 + len(PresetName)].startswith("|")
