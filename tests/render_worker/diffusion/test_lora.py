"""LoRA weights: fused by their scale when a model is loaded, and told apart when they do not fit."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from synfarm.contracts.jobs import RenderSettings
from synfarm.contracts.render_settings import LoraRef
from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.diffusion import lora as lora_file

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
Save = Callable[..., None]


@pytest.fixture
def root(models: Path, tmp_path: Path) -> Path:
    """A folder of models with the tiny one in it."""
    shutil.copytree(models / "sd", tmp_path / "models" / "sd")
    return tmp_path / "models"


@pytest.fixture
def save(root: Path) -> Save:
    """``save(name)``: rank-2 weights for one layer of the tiny model."""

    def saved(name: str, *, width: int = 16, layer: str = f"unet.{LAYER}", file: str = "lora.safetensors") -> None:
        generator = torch.Generator().manual_seed(3)
        weights = {
            f"{layer}.lora_A.weight": torch.randn(2, width, generator=generator),
            f"{layer}.lora_B.weight": torch.randn(width, 2, generator=generator),
        }
        (root / name).mkdir(exist_ok=True)
        save_file(weights, root / name / file)

    return saved


def job(render_settings: Callable[..., RenderSettings], **lora: Any) -> RenderSettings:
    return render_settings("sd", lora=LoraRef(model="style", **lora))


def query(model: Any) -> torch.Tensor:
    weight: torch.Tensor = model.adapter.denoiser.get_submodule(LAYER).weight
    return weight


@pytest.mark.parametrize("scale", [1.0, 0.5, -2.0])
def test_weights_are_fused_by_their_scale(
    load: Callable[..., Any], render_settings: Callable[..., RenderSettings], root: Path, save: Save, scale: float
) -> None:
    save("style")
    plain, styled = load("sd"), load(job(render_settings, scale=scale), root)
    generator = torch.Generator().manual_seed(3)
    down, up = torch.randn(2, 16, generator=generator), torch.randn(16, 2, generator=generator)
    assert torch.allclose(query(styled), query(plain) + scale * (up @ down), atol=1e-5)
    names = {name for name, _ in styled.adapter.denoiser.named_modules()}
    assert not [name for name in names if "lora" in name], "drawing costs what it costs without"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"width": 24}, r"does not fit a StableDiffusionPipeline"),
        ({"layer": "unet.some.other.lora_layer"}, r"does not fit a StableDiffusionPipeline"),
        ({"layer": "transformer.blocks.0.attn.to_q"}, r"does not fit a StableDiffusionPipeline"),
    ],
)
def test_weights_of_another_model_are_the_unit_s_fault(
    load: Callable[..., Any],
    render_settings: Callable[..., RenderSettings],
    root: Path,
    save: Save,
    change: dict[str, Any],
    reason: str,
) -> None:
    save("style", **change)
    with pytest.raises(UnitFault, match=rf"render\.lora: style/lora\.safetensors {reason}.*trained on"):
        load(job(render_settings), root)


def test_which_file_of_several(
    load: Callable[..., Any], render_settings: Callable[..., RenderSettings], root: Path, save: Save
) -> None:
    save("style")
    save("style", file="other.safetensors")
    with pytest.raises(UnitFault, match=r"render\.lora\.weights: .*name one: lora\.safetensors, other\.safetensors"):
        load(job(render_settings), root)
    with pytest.raises(EnvironmentFault, match=r"render\.lora\.weights: 'style' has no 'none\.safetensors' \(it has"):
        load(job(render_settings, weights="none.safetensors"), root)
    assert load(job(render_settings, weights="other.safetensors"), root)


def test_files_that_are_missing_or_damaged_stall_the_job(
    load: Callable[..., Any], render_settings: Callable[..., RenderSettings], root: Path
) -> None:
    (root / "style").mkdir()
    (root / "style" / "lora.bin").write_bytes(b"a pickle")
    with pytest.raises(EnvironmentFault, match=r"render\.lora: 'style' holds no \*\.safetensors"):
        load(job(render_settings), root)
    (root / "style" / "lora.safetensors").write_bytes(b"x" * 50)
    with pytest.raises(EnvironmentFault, match=r"render\.lora: style/lora\.safetensors cannot be read"):
        load(job(render_settings), root)


def test_a_worker_without_peft_names_the_extra(
    load: Callable[..., Any],
    render_settings: Callable[..., RenderSettings],
    root: Path,
    save: Save,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save("style")
    found = importlib.util.find_spec
    monkeypatch.setattr(lora_file, "find_spec", lambda name: None if name == "peft" else found(name))
    with pytest.raises(
        EnvironmentFault, match=r"'peft' is not installed: install 'synfarm\[render-worker,diffusers\]'"
    ):
        load(job(render_settings), root)
