"""Weights that are fetched once: what lies where afterwards, and that nothing of it needs the hub again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.render_worker.fake_hub import COMMIT, FakeHub, serving

from synfarm_render_worker.model_files import ModelFiles
from synfarm_render_worker.weights import main

MODEL = f"hub/model@{COMMIT}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Its one repository is both a pipeline and a language model, with all that is not wanted of either."""
    served = tmp_path / "served"
    (served / "unet").mkdir(parents=True)
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for name, content in {
        "model_index.json": "{}",
        "unet/config.json": "{}",
        "unet/diffusion_pytorch_model.safetensors": "weights",
        "config.json": "{}",
        "tokenizer.json": "{}",
        "model.safetensors.index.json": json.dumps({"weight_map": parts}),
        "model-00001-of-00002.safetensors": "1" * 1000,
        "model-00002-of-00002.safetensors": "2" * 1000,
        "consolidated.safetensors": "the same again",
        "pytorch_model.bin": "a pickle",
    }.items():
        (served / name).write_text(content)
    with serving(served, tmp_path / "hub-cache", monkeypatch) as server:
        yield server


def test_a_pipeline_is_found_by_the_worker_without_the_hub(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--pipeline", MODEL]) == 0
    assert f"pipeline {MODEL}: 0.00 GB in " in capsys.readouterr().out
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    folder = ModelFiles(None).find("render", "hub/model", COMMIT)
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors").read_text() == "weights"
    assert len(hub.asked) == asked


def test_a_language_model_becomes_a_folder_of_plain_files(hub: FakeHub, tmp_path: Path) -> None:
    assert main(["--llm", MODEL, "--llm-folder", str(tmp_path / "llm")]) == 0
    folder = tmp_path / "llm" / MODEL
    there = {path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink()}
    weights = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"}
    assert there - {"model_index.json"} == {"config.json", "tokenizer.json", *weights}
    asked = len(hub.asked)
    assert main(["--llm", MODEL, "--llm-folder", str(tmp_path / "llm")]) == 0
    assert len(hub.asked) == asked, "what is there is not asked for again"


@pytest.mark.usefixtures("impatient_hub")
@pytest.mark.parametrize("answer", [(403, "GatedRepo"), (503, "")])
def test_half_a_model_never_gets_the_name_of_a_whole_one(
    hub: FakeHub, tmp_path: Path, answer: tuple[int, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "llm" / MODEL
    half = folder.with_name(folder.name + ".part")
    half.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"):
        (half / name).write_bytes((hub.folder / name).read_bytes())
    hub.refuse = answer
    assert main(["--llm", MODEL, "--llm-folder", str(tmp_path / "llm")]) == 1
    told = capsys.readouterr().err
    assert "llm.model: 'hub/model'" in told
    assert "may not be whole: the list of its files is not in" in told
    assert not folder.exists()
    hub.refuse = None
    assert main(["--llm", MODEL, "--llm-folder", str(tmp_path / "llm")]) == 0
    assert (folder / "model-00002-of-00002.safetensors").read_bytes() == b"2" * 1000


@pytest.mark.parametrize("gone", ["config.json", "tokenizer.json", "model-00002-of-00002.safetensors"])
def test_what_a_repository_lacks_is_named(
    hub: FakeHub, tmp_path: Path, gone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (hub.folder / gone).unlink()
    assert main(["--llm", MODEL, "--llm-folder", str(tmp_path / "llm")]) == 1
    assert f"is not whole, {gone} is missing" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["hub/model", "hub/model@main", f"@{COMMIT}", f"hub/model@{COMMIT[:-1]}"])
def test_a_model_must_be_pinned(named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--llm", named])
    assert caught.value.code == 2
    assert "is not pinned; give NAME@COMMIT" in capsys.readouterr().err


def test_nothing_to_fetch_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "name a --pipeline, --scorer or --llm" in capsys.readouterr().err
