"""The named augmentations: their numbers, and that a family changes nothing of what it shares with another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from synfarm_trainer.config import TrainConfig, from_dict, to_dict
from synfarm_trainer.data.augment import CropParams, apply_crop, draw_params, local_augment
from synfarm_trainer.data.cropids import CropIds, global_crops
from synfarm_trainer.presets import resolve

N = 20_000
FAMILIES = ("synclr-release", "paper", "stablerep", "stablerep-weak", "dinov2")


def family(name: str, **fields: object) -> TrainConfig:
    return resolve("vit-b16", {"augment.name": name, **{k.replace("__", "."): v for k, v in fields.items()}})


def draw(name: str, *, local: bool = False, n: int = N, seed: int = 3, epoch: int = 1) -> CropParams:
    """Of captions of four images each."""
    run, place = family(name), np.arange(n, dtype=np.int64)
    ids = CropIds.of(np.full(n, 5, dtype=np.int64), place // 4, place % 4, [1 if local else 0])
    return draw_params(local_augment(run.augment, run.local_crops) if local else run.augment, seed, epoch, ids)


def rate(x: np.ndarray) -> float:
    return float(np.mean(x))


def about(p: float) -> object:
    """Within four standard deviations of a rate found in 5,000 or more draws; never and always exactly."""
    return pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 5000))


@pytest.mark.parametrize("name", ["synclr-release", "paper", "dinov2"])
def test_variant_a_always_blurs_b_in_a_tenth_and_local_crops_in_half(name: str) -> None:
    """Pitfall 25: each rate is that of blurring, not of its absence."""
    params, local = draw(name), draw(name, local=True)
    b = params.variant_b
    assert rate(b) == about(0.5)
    assert (params.sigma[~b] > 0).all()
    assert rate(params.sigma[b] > 0) == about(0.1)
    assert rate(params.solarize[b]) == about(0.2)
    assert not params.solarize[~b].any()
    assert rate(local.sigma > 0) == about(0.5)
    assert not local.solarize.any()
    for drawn in (params, local):
        assert [rate(drawn.flip), rate(drawn.jitter), rate(drawn.gray)] == [about(0.5), about(0.8), about(0.2)]


def test_the_papers_downsample_takes_both_sides_in_a_twentieth_of_crops() -> None:
    for local in (False, True):
        side = draw("paper", local=local).side
        assert set(side.tolist()) == {0, 64, 128}
        assert rate(side > 0) == about(0.05)
        assert rate(side == 64) == about(0.025)
    for name in FAMILIES:
        assert name == "paper" or not draw(name).side.any()


def test_stablerep_has_no_variants_and_its_weak_form_only_crops() -> None:
    params = draw("stablerep")
    for b in (params.variant_b, ~params.variant_b):
        assert rate(params.sigma[b] > 0) == about(0.5)
    assert not params.solarize.any()
    assert (params.filters.bilinear, params.filters.pillow_blur) == (True, True)
    weak = draw("stablerep-weak")
    assert not any(x.any() for x in (weak.flip, weak.jitter, weak.gray, weak.solarize, weak.sigma > 0))
    assert 0.5 <= weak.area.min() < 0.51
    assert (weak.filters.jitter, weak.filters.hue, weak.filters.blur) == (False, False, False)


def test_dinov2_gives_each_of_its_two_transforms_to_half_of_a_captions_images() -> None:
    b = draw("dinov2").variant_b.reshape(-1, 4)
    assert (b.sum(axis=1) == 2).all()
    assert (b[:, 0] != b[:, 1]).all()
    assert rate(b[:, 0]) == about(0.5)
    coin = draw("synclr-release").variant_b.reshape(-1, 4)
    assert rate(coin.sum(axis=1) == 2) == about(6 / 16)


@pytest.mark.parametrize("crops", [1, 2, 3])
@pytest.mark.parametrize("images", [(0, 1, 2, 3), (2, 0), (3, 1, 0)])
def test_variants_take_turns_over_the_crops_that_a_batch_takes_of_a_caption(
    images: tuple[int, ...], crops: int
) -> None:
    """Whatever images those are; with two crops each image has one of either variant."""
    captions = 5000
    k, view = (np.tile(x, captions) for x in (np.array(images), np.arange(len(images))))
    index = np.arange(captions).repeat(len(images))
    ids = CropIds.of(np.full(len(k), 5), index, k, global_crops(crops), view=view)
    b = draw_params(family("dinov2").augment, 3, 1, ids).variant_b.reshape(captions, -1)
    assert (b[:, 1:] != b[:, :-1]).all()
    assert rate(b[:, 0]) == about(0.5)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_has_the_numbers_of_its_source(name: str) -> None:
    run = family(name)
    augment, local = run.augment, run.local_crops
    scales = {"paper": (0.08, 1.0), "stablerep": (0.08, 1.0), "stablerep-weak": (0.5, 1.0)}
    assert augment.scale == scales.get(name, (0.32, 1.0))
    assert local.scale == ((0.05, 0.32) if name == "dinov2" else (0.08, 0.32))
    jitter = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    assert jitter == (0.4, 0.4, 0.4 if name.startswith("stablerep") else 0.2, 0.1)
    params, small = draw(name), draw(name, local=True)
    for drawn, (low, high) in ((params, augment.scale), (small, local.scale)):
        assert low <= drawn.area.min() < low + 0.01
        assert high - 0.01 < drawn.area.max() <= high
    for part, strength in enumerate(jitter):
        centre = 1 if part < 3 else 0
        assert np.abs(params.factors[:, part] - centre).max() == pytest.approx(strength, abs=0.001)


def test_a_family_changes_no_draw_of_what_it_shares_with_another() -> None:
    release = draw("synclr-release")
    for name in ("paper", "dinov2", "stablerep", "stablerep-weak"):
        params = draw(name)
        same = {"aspect", "place", "order"}
        same |= set() if name == "stablerep-weak" else {"flip", "jitter", "gray"}
        same |= {"factors", "sigma", "variant_b", "solarize"} if name == "paper" else set()
        same |= {"factors", "area"} if name == "dinov2" else set()
        for field in same:
            assert np.array_equal(getattr(params, field), getattr(release, field)), (name, field)
        both = (params.sigma > 0) & (release.sigma > 0)
        assert np.array_equal(params.sigma[both], release.sigma[both])
        # The scale differs; the number that it is drawn by does not.
        low, high = family(name).augment.scale
        assert np.allclose((params.area - low) / (high - low), (release.area - 0.32) / 0.68)


def test_new_parts_are_functions_of_the_crop_alone() -> None:
    place = np.arange(4000, dtype=np.int64)
    ids = CropIds.of(np.full(4000, 5, dtype=np.int64), place // 4, place % 4, [0])
    few = CropIds(*(x[1000:1100] for x in (ids.job, ids.index, ids.k, ids.crop, ids.turn)))
    for name in ("paper", "dinov2"):
        config = family(name).augment
        together, alone = draw_params(config, 3, 1, ids), draw_params(config, 3, 1, few)
        other = [draw_params(config, 4, 1, ids), draw_params(config, 3, 2, ids)]
        for field in ("side", "variant_b"):
            assert np.array_equal(getattr(together, field)[1000:1100], getattr(alone, field))
        field = "side" if name == "paper" else "variant_b"
        assert all(not np.array_equal(getattr(together, field), getattr(x, field)) for x in other)


def test_fields_that_are_named_win_over_the_family_in_any_order() -> None:
    names = {"augment.flip": 0.1, "augment.name": "paper", "local_crops.blur": 0.9}
    for overrides in (names, dict(reversed(names.items()))):
        run = resolve("tiny", overrides)
        assert (run.augment.flip, run.local_crops.blur, run.augment.scale) == (0.1, 0.9, (0.08, 1.0))
        assert run.augment.downsample == 0.05
    assert (run.augment.size, run.local_crops.count, run.local_crops.size) == (48, 0, 24), "the preset's"
    with pytest.raises(ValueError, match=r"augment\.name: must be one of synclr-release, paper, .*, not 'byol'"):
        resolve("tiny", {"augment.name": "byol"})


def test_a_run_frozen_before_the_families_goes_on_as_the_release() -> None:
    for preset in ("tiny", "small", "vit-b16"):
        config = resolve(preset)
        tree = to_dict(config)
        for late in ("name", "interpolation", "downsample", "downsample_sides", "variants", "blur_form"):
            del tree["augment"][late]
        assert from_dict(tree) == config
    assert family("synclr-release").augment == resolve("vit-b16").augment


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"local_crops.size": 96}, r"local_crops\.size: 96 is no multiple of model\.patch \(14\); use 98 or 84"),
        ({"augment.size": 10}, r"augment\.size: 10 is no multiple of model\.patch \(14\); use 14$"),
        ({"augment.downsample_sides": [64, 4]}, r"augment\.downsample_sides: must be at least 8"),
        ({"augment.downsample": 2}, r"augment\.downsample: is a probability"),
    ],
)
def test_a_size_that_patches_do_not_fill_is_refused_with_its_cure(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve("vit-b16", {"model.patch": 14, "local_crops.size": 98, **overrides})


def test_downsample_loses_detail_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    plain = draw("stablerep-weak", n=4)
    plain = replace(plain, area=np.ones(4), aspect=np.full(4, 160 / 120), filters=replace(plain.filters, sides=(64,)))

    def cut(side: int) -> np.ndarray:
        return apply_crop(whole, 96, replace(plain, side=np.full(4, side)), 0).astype(float)

    assert np.array_equal(cut(0), cut(128)), "an image is never made larger"
    assert cut(64).std() < 0.6 * cut(0).std()
    assert cut(64).mean() == pytest.approx(cut(0).mean(), abs=0.5)
