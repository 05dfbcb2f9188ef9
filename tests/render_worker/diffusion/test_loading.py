"""What is looked at before a model is loaded, and how it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.diffusion import weights
from synfarm_render_worker.diffusion.loading import dtype_of
from synfarm_render_worker.diffusion.weights import checked_index, weight_bytes

Load = Callable[..., Any]
Settings = Callable[..., RenderSettings]


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model to damage."""
    return shutil.copytree(models / "sd", tmp_path / "models" / "mine")


UNET = "unet/diffusion_pytorch_model.safetensors"


def renamed(folder: Path, name: str) -> None:
    (folder / UNET).rename(folder / "unet" / name)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: renamed(f, "diffusion_pytorch_model.bin"), r"mine/unet/\S+\.bin are not safetensors.*convert them"),
        (lambda f: (f / UNET).unlink(), r"mine/unet has no weights.*fetch"),
        (lambda f: renamed(f, "diffusion_pytorch_model.fp16.safetensors"), r"mine/unet has no weights.*'variant'"),
        (lambda f: shutil.rmtree(f / "vae"), r"folder mine/vae is missing"),
        (lambda f: (f / "tokenizer/tokenizer_config.json").unlink(), r"mine/tokenizer has no \*config\.json; fetch"),
        (lambda f: (f / "model_index.json").unlink(), r"'mine' is no pipeline of diffusers.*save_pretrained"),
        (lambda f: (f / "model_index.json").write_text("{"), r"'mine' is no pipeline of diffusers"),
        (lambda f: (f / "model_index.json").write_text("[1]"), r"'mine' is no pipeline of diffusers"),
        (lambda f: (f / UNET).write_bytes(b"x" * 100), r"unet/\S+\.safetensors is damaged.*fetch"),
        (lambda f: (f / "unet/config.json").write_text("{}"), r"'mine' cannot be loaded here"),
        (
            lambda f: (f / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(
                json.dumps({"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}})
            ),
            r"mine/unet/\S+-00001-of-00002\.safetensors is missing",
        ),
    ],
)
def test_damaged_models_stall_the_job_and_say_what_to_do(
    load: Load, render_settings: Settings, folder: Path, damage: Callable[[Path], Any], reason: str
) -> None:
    damage(folder)
    with pytest.raises(EnvironmentFault, match=rf"render\.model: .*{reason}"):
        load(render_settings("mine"), folder.parent)


def named(folder: Path, kind: str) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": kind}))


def test_a_pipeline_of_no_family_of_this_version(load: Load, render_settings: Settings, folder: Path) -> None:
    named(folder, "StableDiffusionPAGPipeline")
    with pytest.raises(UnitFault, match=r"render\.model: .*StableDiffusionPAGPipeline.*choose a model of"):
        load(render_settings("mine"), folder.parent)


def test_a_pipeline_that_draws_no_images(load: Load, render_settings: Settings, folder: Path) -> None:
    named(folder, "AudioLDMPipeline")
    with pytest.raises(UnitFault, match=r"render\.model: AudioLDMPipeline of 'mine' is no text-to-image pipeline"):
        load(render_settings("mine"), folder.parent)


def test_weights_are_counted_in_the_dtype_that_they_are_loaded_in(models: Path, load: Load) -> None:
    index = checked_index(models / "sdxl", "sdxl")
    pipeline = load("sdxl").adapter.pipeline
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    count = sum(weight.numel() for part in parts for weight in part.state_dict().values())
    whole = weight_bytes(models / "sdxl", index, torch.float32)
    assert abs(whole - 4 * count) <= 0.01 * whole
    assert weight_bytes(models / "sdxl", index, torch.bfloat16) * 2 == whole


def test_too_little_memory_is_told_before_anything_is_loaded(
    load: Load, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = weight_bytes(models / "sd", checked_index(models / "sd", "sd"), torch.float32)
    monkeypatch.setattr(weights, "_free_here", lambda: needed)
    with pytest.raises(EnvironmentFault, match=r"'sd' has 0\.0 GB of weights and this machine has 0\.0 GB free; free"):
        load("sd")
    monkeypatch.setattr(weights, "_free_here", lambda: 2 * needed)
    assert load("sd")


def test_free_memory_is_that_of_this_machine() -> None:
    assert 1 << 20 < weights._free_here() < 1 << 50


def test_no_safety_checker_and_no_watermark(load: Load) -> None:
    assert load("sd").adapter.pipeline.safety_checker is None


def test_dtype_on_a_cpu_and_on_gpus_old_and_new(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert dtype_of("auto", cpu) is torch.float32
    assert dtype_of("float16", cpu) is torch.float16
    for able, dtype in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able, **_: able)
        assert dtype_of("auto", gpu) is dtype


@pytest.mark.parametrize(("family", "vae"), [("sd", torch.float16), ("sdxl", torch.float32), ("flux", torch.float16)])
def test_the_vae_that_overflows_stays_in_float32(
    models: Path, render_settings: Settings, family: str, vae: torch.dtype
) -> None:
    from synfarm_render_worker.diffusion.loading import load_model
    from synfarm_render_worker.model_files import ModelFiles

    device = torch.device("cpu")
    model = load_model(render_settings(family), ModelFiles(models), device=device, dtype=torch.float16)
    assert model.adapter.denoiser.dtype is torch.float16
    assert model.adapter.pipeline.vae.dtype is vae
