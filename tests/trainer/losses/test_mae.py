"""MAE's loss against a slow reference in float64."""

from __future__ import annotations

import pytest
import slow_features
import torch
from agreement import agree, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm_trainer.losses.mae import masked_pixel_loss, patch_pixels


@settings(max_examples=15)
@given(tokens=st.integers(1, 5), numbers=st.integers(2, 12), normalised=st.booleans(), seed=st.integers(0, 99))
def test_it_equals_the_slow_reference(tokens: int, numbers: int, normalised: bool, seed: int) -> None:
    pixels = draw(tokens, numbers, seed=seed)
    agree(
        lambda x: masked_pixel_loss(x, pixels, normalised=normalised),
        lambda x: slow_features.masked_pixels(x, pixels, normalised),
        draw(tokens, numbers, seed=seed + 1),
    )


def test_a_patch_of_one_colour_stays_finite_and_pixels_take_no_gradient() -> None:
    predicted, pixels = torch.zeros(1, 12, requires_grad=True), torch.full((1, 12), 0.7, requires_grad=True)
    loss = masked_pixel_loss(predicted, pixels)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss.sum().backward()
    assert pixels.grad is None
    assert masked_pixel_loss(predicted.bfloat16(), pixels.bfloat16()).dtype == torch.float32


def test_patches_are_read_by_rows_with_channels_last() -> None:
    images = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    patches = patch_pixels(images, 2)
    assert patches.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            square = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert torch.equal(patches[:, 3 * row + column], square.permute(0, 2, 3, 1).flatten(1))
