"""Positions on other grids, against slow references; inputs that are not square (method section 7, 18 to 20)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from synfarm_trainer.config import ModelConfig
from synfarm_trainer.models.positions import release_positions
from synfarm_trainer.models.vit import Backbone, build_vit, init_parameters
from synfarm_trainer.presets import resolve

Weights = Callable[[int, int], np.ndarray]
WIDTH = 8


def cubic(x: float, a: float) -> float:
    """Keys' kernel."""
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return a * (((x - 5) * x + 8) * x - 4) if x < 2 else 0.0


def by_release(old: int, new: int) -> np.ndarray:
    """(new, old) weights: places by the factor (new + 0.1) / old, four neighbours, the border's ones repeated."""
    weights = np.zeros((new, old))
    for i in range(new):
        place = (i + 0.5) * old / (new + 0.1) - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            weights[i, min(max(j, 0), old - 1)] += cubic(place - j, -0.75)
    return weights


def by_size(old: int, new: int) -> np.ndarray:
    """(new, old) weights: places by new / old, a kernel that grows when the grid shrinks, cut at the border."""
    weights = np.zeros((new, old))
    grown = max(1.0, old / new)
    for i in range(new):
        place = (i + 0.5) * old / new
        for j in range(max(0, int(place - 2 * grown + 0.5)), min(old, int(place + 2 * grown + 0.5))):
            weights[i, j] = cubic((j - place + 0.5) / grown, -0.5)
    return weights / weights.sum(axis=1, keepdims=True)


def slow(grid: np.ndarray, wanted: tuple[int, int], weights: Weights) -> np.ndarray:
    """(rows, columns, width) of one size to ``wanted``."""
    down, across = weights(grid.shape[0], wanted[0]), weights(grid.shape[1], wanted[1])
    return np.einsum("ir,jc,rcw->ijw", down, across, grid)


def backbone(positions: str, size: int = 48, patch: int = 8) -> Backbone:
    config = ModelConfig(patch=patch, width=WIDTH, depth=2, heads=2, positions=positions)  # type: ignore[arg-type]
    model = build_vit(config, size)
    init_parameters(model, seed=1, linear_std=0.3)
    return model.double()


@torch.no_grad()
def positions_of(model: Backbone, rows: int, columns: int) -> torch.Tensor:
    """(1 + rows * columns, width) that are added to class token and patches."""
    model.cls_token.zero_()
    return model._pos_embed(torch.zeros(1, rows, columns, WIDTH, dtype=torch.float64))[0]


@pytest.mark.parametrize("wanted", [(3, 3), (4, 7), (7, 4), (9, 12), (6, 6)])
@pytest.mark.parametrize(("form", "weights"), [("release", by_release), ("resample", by_size)])
def test_18_positions_are_those_of_a_slow_reference(form: str, weights: Weights, wanted: tuple[int, int]) -> None:
    model = backbone(form)
    stored = model.pos_embed.detach()[0].numpy()
    grid = stored[1:].reshape(6, 6, WIDTH)
    right = grid if wanted == (6, 6) else slow(grid, wanted, weights)
    found = positions_of(model, *wanted).numpy()
    assert np.array_equal(found[0], stored[0])
    # timm resamples in float32.
    tolerance = 1e-12 if form == "release" else 1e-6
    assert np.abs(found[1:] - right.reshape(-1, WIDTH)).max() < tolerance


def test_18_the_offset_and_the_filter_make_the_two_forms_differ() -> None:
    release, resample = (positions_of(backbone(form), 3, 3) for form in ("release", "resample"))
    assert float((release - resample)[1:].abs().max()) > 1e-3
    grid = torch.randn(1, 36, WIDTH, generator=torch.Generator().manual_seed(0))
    assert release_positions(grid, (6, 6), (6, 6)) is grid


@torch.no_grad()
@pytest.mark.parametrize("form", ["release", "resample"])
def test_18_prefix_tokens_keep_their_positions_or_have_none(form: str) -> None:
    arguments = {"img_size": 56, "patch_size": 14, "embed_dim": WIDTH, "depth": 1, "num_heads": 2, "num_classes": 0}
    for bare in (True, False):
        model = Backbone(
            **arguments, reg_tokens=2, no_embed_class=bare, dynamic_img_size=True, positions=form, weight_init="skip"
        )
        init_parameters(model, seed=1)
        prefix = torch.cat([model.cls_token, model.reg_token], dim=1)[0]
        found = model._pos_embed(torch.zeros(2, 3, 2, WIDTH))
        assert found.shape == (2, 3 + 6, WIDTH)
        assert torch.equal(found[0, :3], prefix if bare else prefix + model.pos_embed[0, :3])
        assert float(found[0, 3:].std(dim=0).min()) > 0


@pytest.mark.parametrize("form", ["release", "resample"])
def test_19_rows_come_first_an_image_moved_sideways_moves_the_tokens_where_positions_name_rows(form: str) -> None:
    """336 x 448: 24 rows, 32 columns of 14 pixels. Positions that name rows alone, or columns alone."""
    model = backbone(form, size=224, patch=14)
    images = torch.rand(1, 3, 336, 448, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        ramp = torch.linspace(-1, 1, 16, dtype=torch.float64)[:, None, None] * torch.arange(WIDTH).double()
        for axis, pixels in ((2, (0, 28)), (1, (28, 0))):
            grid = ramp.expand(16, 16, WIDTH) if axis == 2 else ramp.transpose(0, 1).expand(16, 16, WIDTH)
            model.pos_embed[:, 1:] = grid.reshape(1, 256, WIDTH)
            before = model.tokens(images)[:, 1:].view(1, 24, 32, WIDTH)
            after = model.tokens(images.roll(pixels, dims=(2, 3)))[:, 1:].view(1, 24, 32, WIDTH)
            torch.testing.assert_close(after, before.roll(2, dims=axis), rtol=1e-6, atol=1e-6)
            other = model.tokens(images.roll(pixels[::-1], dims=(2, 3)))[:, 1:].view(1, 24, 32, WIDTH)
            assert float((other - before.roll(2, dims=3 - axis)).abs().max()) > 1e-2


def test_20_a_crop_that_patches_do_not_fill_is_refused_with_the_sizes_that_they_do() -> None:
    sizes: dict[str, object] = {"model.patch": 14, "model.width": 1024, "model.depth": 24, "model.heads": 16}
    with pytest.raises(ValueError, match=r"^local_crops\.size: 96 is no multiple of model\.patch \(14\); use 98 or 84"):
        resolve("vit-b16", {**sizes, "local_crops.size": 96})
    with pytest.raises(ValueError, match=r"^local_crops\.size: 96 is no multiple of model\.patch \(14\); use 98 or 84"):
        resolve("vit-b16", {"model.timm": "vit_base_patch14_dinov2"})
    assert resolve("vit-b16", {**sizes, "local_crops.size": 98}).local_crops.size == 98
