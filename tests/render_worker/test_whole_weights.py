"""A fetch that was cut short is never taken for a whole one, whatever of it lies in the hub's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.render_worker.fake_hub import COMMIT, FakeHub, serving

from synfarm.queue.unit import EnvironmentFault
from synfarm_render_worker.model_files import ModelFiles
from synfarm_render_worker.weights import main

MODEL = f"hub/model@{COMMIT}"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """It serves a real pipeline, small and with random weights."""
    with serving(models / "sd", tmp_path / "hub-cache", monkeypatch) as server:
        yield server


@pytest.fixture
def cut_short(hub: FakeHub, tmp_path: Path) -> Path:
    """The cache that a fetch leaves which is killed while its largest file comes in."""
    hub.stuck = WEIGHTS
    cache = tmp_path / "hub-cache"
    fetching = subprocess.Popen(
        [sys.executable, "-m", "synfarm_render_worker.weights", "--pipeline", MODEL],
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0"},
        stderr=subprocess.DEVNULL,
    )
    try:
        assert hub.is_stuck.wait(60)
    finally:
        fetching.kill()
        fetching.wait()
    hub.stuck = None
    hub.go_on.set()
    return cache


def fetched(hub: FakeHub) -> dict[str, bytes]:
    """What the worker finds, by path."""
    folder = ModelFiles(None).find("render", "hub/model", COMMIT)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def served(hub: FakeHub) -> dict[str, bytes]:
    return {path.relative_to(hub.folder).as_posix(): path.read_bytes() for path in hub.folder.rglob("*.*")}


@pytest.mark.usefixtures("impatient_hub")
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "list lost"])
def test_a_killed_fetch_is_gone_on_with_and_not_believed(
    hub: FakeHub, cut_short: Path, listed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (cut_short / "models--hub--model" / "snapshots" / COMMIT).is_dir()
    if not listed:  # as where the disk was full, or another version of the library began
        shutil.rmtree(cut_short / "models--hub--model" / "trees")
    hub.refuse = (503, "")
    assert main(["--pipeline", MODEL]) == 1
    assert "pipeline.model: 'hub/model'" in capsys.readouterr().err
    hub.refuse = None
    assert main(["--pipeline", MODEL]) == 0
    assert fetched(hub) == served(hub)


@pytest.mark.usefixtures("impatient_hub")
@pytest.mark.parametrize("damage", ["shorter", "empty", "gone", "other bytes"])
def test_a_damaged_file_is_named_and_fetched_again(
    hub: FakeHub, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--pipeline", MODEL]) == 0
    file = ModelFiles(None).find("render", "hub/model", COMMIT) / WEIGHTS
    data = file.read_bytes()
    broken = {"shorter": data[:-1], "empty": b"", "gone": b"", "other bytes": data[:-1] + bytes([data[-1] ^ 1])}
    file.resolve().write_bytes(broken[damage])
    if damage == "gone":
        file.resolve().unlink()
    hub.refuse = (503, "")
    if damage != "other bytes":  # a worker that starts does not hash gigabytes
        with pytest.raises(EnvironmentFault, match=r"render\.model: 'hub/model'"):
            ModelFiles(None).find("render", "hub/model", COMMIT)
    assert main(["--pipeline", MODEL]) == 1
    assert damage == "gone" or f"not whole: {WEIGHTS} is missing or damaged" in capsys.readouterr().err
    hub.refuse = None
    assert main(["--pipeline", MODEL]) == 0
    assert fetched(hub) == served(hub)
