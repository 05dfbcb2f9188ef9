"""CLIP's loss against a slow reference in float64."""

from __future__ import annotations

import math

import pytest
import slow_contrast
import torch
from agreement import agree, directions
from torch.nn.functional import cross_entropy

from synfarm_trainer.losses.clip import LOG_SCALE_LIMIT, LOG_SCALE_START, clamp_log_scale, clip_loss, one_way_loss
from synfarm_trainer.losses.multi_positive import NoPositive


def scale(value: float = LOG_SCALE_START) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("captions", [[0, 1, 2, 3], [0, 0, 1, 2], [5, 5, 5, 5]])
def test_it_equals_the_slow_reference(captions: list[int]) -> None:
    """Also where a caption comes twice; the scale's gradient too."""
    labels = torch.tensor(captions)
    agree(
        lambda i, t, s: clip_loss(i, t, labels, labels, s),
        lambda i, t, s: slow_contrast.clip(i, t, labels, labels, s),
        directions(4, 6),
        directions(4, 6, seed=1),
        scale(),
    )


def test_a_caption_with_several_images() -> None:
    image_labels, text_labels = torch.tensor([1, 1, 2, 3, 3]), torch.tensor([3, 1, 2])
    agree(
        lambda i, t, s: clip_loss(i, t, image_labels, text_labels, s),
        lambda i, t, s: slow_contrast.clip(i, t, image_labels, text_labels, s),
        directions(5, 6),
        directions(3, 6, seed=1),
        scale(1.0),
    )


def test_with_one_image_a_caption_it_is_cross_entropy_both_ways() -> None:
    images, texts, labels = directions(5, 6), directions(5, 6, seed=1), torch.arange(5)
    logits = images @ texts.T / 0.07
    expected = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(clip_loss(images, texts, labels, labels, scale()), expected, rtol=1e-12, atol=1e-12)


def test_ranks_shares_of_a_direction_add_up() -> None:
    images, texts, labels = directions(6, 4), directions(6, 4, seed=1), torch.arange(6)
    whole = one_way_loss(images, texts, labels, labels, scale())
    parts = [one_way_loss(images[c], texts, labels[c], labels, scale()) for c in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_the_scale_stays_between_one_and_a_hundred() -> None:
    assert math.exp(LOG_SCALE_START) == pytest.approx(1 / 0.07)
    for start, end in ((-0.5, 0.0), (2.0, 2.0), (7.0, LOG_SCALE_LIMIT)):
        parameter = torch.nn.Parameter(torch.tensor(start))
        clamp_log_scale(parameter)
        assert parameter.item() == pytest.approx(end)


def test_an_image_without_its_text_is_refused() -> None:
    with pytest.raises(NoPositive):
        clip_loss(directions(2, 3), directions(2, 3), torch.tensor([0, 1]), torch.tensor([0, 2]), scale())
