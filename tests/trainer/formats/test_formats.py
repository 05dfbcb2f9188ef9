"""Exports as their users load them: each format, of checkpoints and of completed runs, with the same features."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from synfarm.contracts import layout
from synfarm.contracts.backbones import BackboneExport
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import CheckpointCommit, CheckpointFile, DatasetRef
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.export import export_backbone
from synfarm_trainer.formats import writing
from synfarm_trainer.formats.__main__ import export_as
from synfarm_trainer.formats.agreement import FormatFailed, agreement
from synfarm_trainer.models.vit import build_vit, init_parameters
from synfarm_trainer.networks.of_runs import of_run
from synfarm_trainer.networks.opening import open_network
from synfarm_trainer.networks.refused import NetworkRefused

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
TOKEN = "01hzzzzzzzzzzzzzzzzzzzzzz2"


@pytest.fixture
def store(write_run, small_config):
    """With a completed run, and a checkpoint of other weights at step 3."""
    found = MemoryStore()
    data = DatasetRef(job="01hzzzzzzzzzzzzzzzzzzzzzz0", generation=1, manifest_sha256="0" * 64)
    write_run(found, data, overrides={"model.positions": "release"})
    config = small_config({"model.positions": "release"})
    network = build_vit(config.model, config.augment.size)
    init_parameters(network, 1)
    export_backbone(found, RUN, 12, network, config, network="teacher")
    init_parameters(network, 2)
    data = save({**{f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}, "x": torch.ones(1)})
    key = layout.checkpoint_file(RUN, 3, 0, "teacher.safetensors")
    found.put(key, data)
    commit = CheckpointCommit(
        run=RUN,
        step=3,
        attempt=0,
        token=TOKEN,
        world_size=1,
        files=(CheckpointFile(key=key, sha256=__import__("hashlib").sha256(data).hexdigest(), size=len(data)),),
        committed_at=utc_now(),
    )
    found.put(layout.checkpoint_commit(RUN, 3, 0), commit.to_bytes())
    return found


def exported(store, out: Path, kind: str, step: int | None = None) -> BackboneExport:
    return export_as(store, RUN, step, kind, out, lambda line: None)


def loaded(told: BackboneExport, folder: Path) -> torch.nn.Module:
    """What the printed lines make of it, in a process's own words."""
    names: dict[str, object] = {}
    exec(told.load, names)
    model = names["model"]
    assert isinstance(model, torch.nn.Module)
    return model.eval()


@pytest.mark.parametrize("kind", ["timm", "safetensors", "huggingface"])
@pytest.mark.parametrize("step", [None, 3])
def test_the_printed_lines_load_it_and_give_the_runs_features(
    store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, step: int | None
) -> None:
    told = exported(store, tmp_path / "out", kind, step)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*told.files, "export.json"}
    assert (told.positions, told.side, told.width, told.step) == ("release", 16, 32, step)
    monkeypatch.chdir(tmp_path / "out")
    images = torch.randn(2, 3, 16, 16)
    own = of_run(RUN if step is None else f"{RUN}@{step}", store)
    with torch.inference_mode():
        assert torch.equal(loaded(told, tmp_path)(images), own.module(images))
    other = of_run(f"{RUN}@3" if step is None else RUN, store)
    assert not torch.equal(other.module(images), own.module(images))
    again = open_network(f"folder:{tmp_path / 'out'}", lambda: store) if kind != "safetensors" else own
    pixels = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    assert torch.allclose(again.embed(pixels), own.embed(pixels), atol=1e-6)


def test_a_folder_of_the_hub_is_loaded_by_transformers_too(store, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    exported(store, tmp_path / "out", "huggingface")
    model = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(model(pixel_values=images).pooler_output, of_run(RUN, store).module(images), atol=1e-6)
    assert RUN in (tmp_path / "out" / "README.md").read_text()


def test_an_onnx_graph_takes_any_number_of_images(store, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    runtime = pytest.importorskip("onnxruntime")
    told = exported(store, tmp_path / "out", "onnx", 3)
    session = runtime.InferenceSession(str(tmp_path / "out" / "backbone.onnx"))
    images = torch.randn(5, 3, 16, 16)
    with torch.inference_mode():
        wanted = of_run(f"{RUN}@3", store).module(images)
    assert torch.allclose(torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0]), wanted, atol=1e-5)
    assert session.get_modelmeta().custom_metadata_map["side"] == "16"
    assert told.difference <= told.tolerance == 1e-4


def test_without_onnx_the_cure_is_told_and_nothing_is_left(store, tmp_path: Path, monkeypatch) -> None:
    from synfarm_trainer.formats import onnx_graph

    monkeypatch.setattr(onnx_graph, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(FormatFailed, match=r"onnx needs onnxruntime: pip install 'synfarm\[onnx\]'"):
        exported(store, tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_gives_other_features_is_never_handed_out(store, tmp_path: Path, monkeypatch) -> None:
    def spoilt(file, *rest):
        tensors = load(Path(file).read_bytes())
        tensors["norm.bias"] += 1e-4
        return tensors

    monkeypatch.setattr(writing, "load_file", spoilt)
    with pytest.raises(FormatFailed, match=r"features that differ by .* \(at most 1e-06\)"):
        exported(store, tmp_path / "out", "timm")
    assert list(tmp_path.iterdir()) == []
    frozen = of_run(RUN, store)
    with pytest.raises(FormatFailed, match="differ by nan"):
        agreement(frozen, lambda images: frozen.module(images) * float("nan"), tolerance=1.0)
    with pytest.raises(FormatFailed, match="another shape"):
        agreement(frozen, lambda images: frozen.module(images)[:, :-1], tolerance=1.0)


def test_what_is_not_there_is_told_with_what_is(store, tmp_path: Path) -> None:
    with pytest.raises(NetworkRefused, match=rf"^run {RUN} has no checkpoint of step 4; it has: 3"):
        exported(store, tmp_path / "out", "timm", 4)
    store.delete(layout.export_file(RUN, "backbone.safetensors"))
    with pytest.raises(NetworkRefused, match=r"^the store has no .*; wait until it is complete, or name a checkpoint"):
        exported(store, tmp_path / "out", "timm")
    with pytest.raises(NetworkRefused, match="there is no run"):
        export_as(store, TOKEN, None, "timm", tmp_path / "out", lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_the_run_itself_records_how_positions_were_resampled(store) -> None:
    assert json.loads(store.get(layout.export_file(RUN, "backbone.json")))["positions"] == "release"


@pytest.mark.integration
def test_the_command_exports_from_the_store_and_tells_what_is_wrong(store, store_settings, tmp_path: Path) -> None:
    from synfarm.storage.minio_store import open_store

    real = open_store(store_settings)
    for info in store.list(""):
        real.put(info.key, store.get(info.key))
    environment = {
        **__import__("os").environ,
        "SYNFARM_STORE_ENDPOINT": store_settings.endpoint,
        "SYNFARM_STORE_ACCESS_KEY": store_settings.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": store_settings.secret_key.get_secret_value(),
        "SYNFARM_STORE_BUCKET": store_settings.bucket,
        "SYNFARM_STORE_PREFIX": store_settings.prefix,
    }

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        every = [sys.executable, "-m", "synfarm.cli", "runs", "export", *words]
        return subprocess.run(every, env=environment, capture_output=True, text=True, timeout=240, check=False)

    done = command("latest", "--to", str(tmp_path / "out"), "--format", "huggingface")
    assert (done.returncode, "model.safetensors" in done.stdout) == (0, True), done.stderr
    assert "timm.create_model" in done.stdout
    assert "Features agree to" in done.stderr
    done = command(RUN, "--to", str(tmp_path / "out"))
    assert (done.returncode, "is not empty" in done.stderr) == (2, True), done.stderr
