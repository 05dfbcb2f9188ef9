"""The augmentation: what is drawn, how often, and that its bits are fixed."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from synfarm_trainer.config import AugmentConfig, LocalCropsConfig
from synfarm_trainer.data.augment import apply_crop, draw_params, local_augment
from synfarm_trainer.data.cropids import CropIds

N = 4000


def ids(n: int, crop: int = 0) -> CropIds:
    place = np.arange(n, dtype=np.int64)
    return CropIds.of(np.full(n, 5, dtype=np.int64), place // 4, place % 4, [crop])


def only(crops: CropIds, n: int) -> CropIds:
    return CropIds(*(x[n : n + 1] for x in (crops.job, crops.index, crops.k, crops.crop, crops.turn)))


def picture() -> Image.Image:
    x = np.arange(64, dtype=np.uint8)
    return Image.fromarray(
        np.stack([np.tile(x * 4, (64, 1)), np.tile(x[:, None] * 4, (1, 64)), np.full((64, 64), 90)], -1).astype(
            np.uint8
        )
    )


def test_rates_and_ranges_are_those_of_the_configuration() -> None:
    config = AugmentConfig(scale=(0.3, 0.9))
    params = draw_params(config, 3, 0, ids(N))
    rates = {"flip": 0.5, "jitter": 0.8, "gray": 0.2, "solarize": 0.1}
    for name, rate in rates.items():
        assert getattr(params, name).mean() == pytest.approx(rate, abs=0.03)
    assert (params.sigma > 0).mean() == pytest.approx(0.55, abs=0.03)
    assert 0.1 <= params.sigma[params.sigma > 0].min() <= params.sigma.max() <= 2.0
    assert 0.3 <= params.area.min() < 0.31
    assert 0.89 < params.area.max() <= 0.9
    assert 0.75 <= params.aspect.min() <= params.aspect.max() <= 4 / 3
    assert (np.abs(params.factors[:, 3]) <= 0.1).all()
    assert np.abs(np.corrcoef(params.place.T, params.area)[0, 1:]).max() < 0.06


def test_a_crop_is_the_same_alone_and_in_company() -> None:
    config = AugmentConfig(size=32)
    crops = ids(16)
    together, alone = draw_params(config, 3, 2, crops), draw_params(config, 3, 2, only(crops, 9))
    assert np.array_equal(apply_crop(picture(), 32, together, 9), apply_crop(picture(), 32, alone, 0))
    other = draw_params(config, 3, 3, crops)
    assert not np.array_equal(apply_crop(picture(), 32, together, 9), apply_crop(picture(), 32, other, 9))


def test_the_pixels_of_a_fixed_draw_stay_what_they_are() -> None:
    config = AugmentConfig(size=24)
    params = draw_params(config, 11, 1, ids(64))
    pixels = np.stack([apply_crop(picture(), 24, params, n) for n in range(64)])
    assert pixels.shape == (64, 24, 24, 3)
    assert len({one.tobytes() for one in pixels}) == 64
    again = np.stack([apply_crop(picture(), 24, params, n) for n in range(64)])
    assert hashlib.sha256(pixels.tobytes()).digest() == hashlib.sha256(again.tobytes()).digest()


def test_without_augmentation_the_whole_image_is_resized() -> None:
    config = AugmentConfig(
        size=64, scale=(1, 1), ratio=(1, 1), flip=0, jitter=0, gray=0, blur_a=0, blur_b=0, solarize_b=0
    )
    assert np.array_equal(apply_crop(picture(), 64, draw_params(config, 0, 0, ids(4)), 2), np.asarray(picture()))


def test_gray_is_gray_and_brightness_scales() -> None:
    plain = {"size": 64, "scale": (1, 1), "ratio": (1, 1), "flip": 0, "blur_a": 0, "blur_b": 0, "solarize_b": 0}
    gray = apply_crop(picture(), 64, draw_params(AugmentConfig(**plain, jitter=0, gray=1), 0, 0, ids(4)), 0)
    assert (gray[..., 0] == gray[..., 1]).all()
    assert (gray[..., 0] == gray[..., 2]).all()
    config = AugmentConfig(**plain, jitter=1, brightness=0.5, contrast=0, saturation=0, hue=0, gray=0)
    params = draw_params(config, 0, 0, ids(4))
    bright = apply_crop(picture(), 64, params, 1).astype(float)
    assert np.abs(bright - np.clip(np.asarray(picture()) * params.factors[1, 0], 0, 255)).max() <= 0.51


def test_local_crops_have_rates_and_draws_of_their_own() -> None:
    config = local_augment(AugmentConfig(), LocalCropsConfig())
    assert (config.size, config.scale, config.jitter) == (96, (0.08, 0.32), 0.8)
    params = draw_params(config, 3, 0, ids(N, crop=1))
    assert (params.sigma > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert not params.solarize.any()
    assert 0.08 <= params.area.min() <= params.area.max() <= 0.32
    whole, other = draw_params(config, 3, 0, ids(N)), draw_params(config, 3, 0, ids(N, crop=2))
    for first, second in ((params, whole), (params, other)):
        assert abs(np.corrcoef(first.area, second.area)[0, 1]) < 0.06
