"""The picture of patch features: foreground found, parts told apart, whatever the signs of the axes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from synfarm_trainer.evals.patch_pca import GAP, TILE, contact_sheet, patch_features, pca_colours
from synfarm_trainer.models.vit import build_vit, init_parameters
from synfarm_trainer.presets import resolve


def thing(seed: int, sign: float = 1.0) -> np.ndarray:
    """(3, 8, 8, 12): a thing of two parts in the middle of a plain ground."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(3, 8, 8, 12)) * 0.05
    features[..., 0] -= 3 * sign
    features[:, 2:6, 2:6, 0] += 6 * sign
    features[:, 2:6, 2:4, 1] += 1
    features[:, 2:6, 4:6, 1] -= 1
    return features


def test_the_foreground_is_coloured_by_its_parts_and_the_ground_is_black() -> None:
    for sign in (1.0, -1.0):
        colours = pca_colours(thing(0, sign))
        assert colours.shape == (3, 8, 8, 3)
        inside = np.zeros((8, 8), dtype=bool)
        inside[2:6, 2:6] = True
        assert not colours[:, ~inside].any()
        red = colours[:, 2:6, 2:6, 0].astype(int)
        assert abs(red[..., :2].mean() - red[..., 2:].mean()) > 200, "the first axis of the foreground tells its parts"
        assert np.ptp(red[..., :2]) < 60


def test_what_tells_images_apart_does_not_hide_their_foreground() -> None:
    offset = np.zeros((3, 1, 1, 12))
    offset[:, 0, 0, 5] = (-40, 0, 40)
    assert np.array_equal(pca_colours(thing(0) + offset) > 0, pca_colours(thing(0)) > 0)


def test_the_same_features_make_the_same_picture_and_nothing_to_see_is_no_error() -> None:
    assert np.array_equal(pca_colours(thing(1)), pca_colours(thing(1)))
    assert pca_colours(np.zeros((2, 4, 4, 8))).shape == (2, 4, 4, 3)


def test_features_lie_where_their_patches_lie() -> None:
    config = resolve("tiny")
    vit = build_vit(config.model, 48).train()
    init_parameters(vit, seed=0)
    pixels = np.zeros((2, 96, 96, 3), dtype=np.uint8)
    plain = patch_features(vit, pixels)
    assert plain.shape == (2, 12, 12, config.model.width)
    assert vit.training
    pixels[0, 40:48, 8:16] = 255
    moved = np.abs(patch_features(vit, pixels) - plain).max(axis=-1)
    assert np.unravel_index(moved[0].argmax(), (12, 12)) == (5, 1)
    assert moved[1].max() == 0


def test_a_sheet_has_a_row_for_each_set_and_transparent_gaps() -> None:
    red, green = (np.full((4, 4, 3), colour, dtype=np.uint8) for colour in ((255, 0, 0), (0, 255, 0)))
    sheet = Image.open(io.BytesIO(contact_sheet([[(red, green, green)] * 2, [(green, red, red)]])))
    assert sheet.size == (2 * 3 * TILE + GAP, 2 * TILE + GAP)
    assert sheet.getpixel((5, 5)) == (255, 0, 0, 255)
    assert sheet.getpixel((TILE + 5, 5)) == (0, 255, 0, 255)
    assert sheet.getpixel((3 * TILE + GAP // 2, 5))[3] == 0
    assert sheet.getpixel((5, TILE + GAP + 5)) == (0, 255, 0, 255)
