"""Folders of models that a stranger made: what they claim takes no memory, leads nowhere, and runs nothing."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import EnvironmentFault

UNET = "unet/diffusion_pytorch_model.safetensors"


def lying(shape: list[int], end: int) -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(min(end, 8))


def index(told: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / f"{UNET}.index.json").write_text(told)


def own_code(folder: Path) -> None:
    """The network's class in a file of the model."""
    (folder / "unet" / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Net: ...\n")
    told = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**told, "unet": ["mine", "Net"]}))


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (lambda f: (f / UNET).write_bytes(struct.pack("<Q", 1 << 60) + b"{}"), r"unet/\S+\.safetensors is damaged"),
        (lambda f: (f / UNET).write_bytes(lying([1 << 40, 1 << 40], 8)), r"unet/\S+\.safetensors is damaged"),
        (lambda f: (f / UNET).write_bytes(lying([0, (1 << 64) - 1], 0)), r"'mine' cannot be loaded here"),
        (index('{"weight_map": {"a": "../../../etc/x.safetensors"}}'), r"etc/x\.safetensors is missing"),
        (index('{"weight_map": ["a"]}'), r"index\.json cannot be read"),
        (index("[" * 100_000), r"index\.json cannot be read"),
        (
            lambda f: (f / "model_index.json").write_text('{"../other": ["diffusers", "X"]}'),
            r"has no part '\.\./other'",
        ),
        (lambda f: (f / "model_index.json").write_text('{"../other": 1}'), r"has no part '\.\./other'"),
        (own_code, r"'mine' cannot be loaded here"),
    ],
)
def test_a_model_that_lies_stalls_its_job_and_runs_nothing(
    load: Callable[..., Any],
    models: Path,
    tmp_path: Path,
    render_settings: Callable[..., RenderSettings],
    plant: Callable[[Path], Any],
    told: str,
) -> None:
    folder = shutil.copytree(models / "sd", tmp_path / "models" / "mine")
    plant(folder)
    with pytest.raises(EnvironmentFault, match=told):
        load(render_settings("mine"), tmp_path / "models")
    assert not (folder / "ran").exists()
