"""An index of a language model's weights that lies: something is missing, and a server never meets the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from synfarm_render_worker.weights import missing_of


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ('{"weight_map": {"a": "model.safetensors"}}', None),
        ('{"weight_map": {"a": "../outside.safetensors"}}', "../outside.safetensors"),
        ('{"weight_map": {"a": 5}}', "5"),
        ('{"weight_map": ["a"]}', "model.safetensors.index.json"),
        ("{}", "model.safetensors.index.json"),
        ("[" * 100_000, "model.safetensors.index.json"),
    ],
)
def test_parts_lie_beside_their_index(tmp_path: Path, told: str, missing: str | None) -> None:
    (tmp_path / "outside.safetensors").write_bytes(b"x")
    folder = tmp_path / "llm"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors.index.json").write_text(told)
    assert missing_of(folder) == missing
