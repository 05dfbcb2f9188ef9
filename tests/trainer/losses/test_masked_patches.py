"""iBOT's loss, whole and in pieces, against a slow reference in float64 and the published numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import slow_prototypes
import torch
from agreement import agree, draw
from torch import Tensor

from synfarm_trainer.losses.masked_patches import entropy, image_means, masked_patch_loss
from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses

PUBLISHED = np.load(Path(__file__).parents[2] / "oracles" / "ibot_patch.npz", allow_pickle=False)


def number(name: str) -> Tensor:
    return torch.from_numpy(np.asarray(PUBLISHED[name]))


@pytest.mark.parametrize("temperature", ["0.04", "0.07"])
@pytest.mark.parametrize(("divisor", "name"), [(6, "all6"), (4, "masked4"), (3, "masked3")])
def test_loss_targets_and_gradient_are_the_published_ones(temperature: str, divisor: int, name: str) -> None:
    """Images with 8, 8, 8 and 5 masked tokens weigh the same; two images are not masked.

    Over all 6 images, over the 4 that have masks, over a third number: the method takes the second.
    """
    masks = number("masks")
    assert number("mask_indices").tolist() == masks.flatten().nonzero().flatten().tolist()
    seen = number("teacher_patch_logits")[masks]
    student = number("student_patch_logits")[masks].requires_grad_()
    targets = assignment(seen, float(temperature), prototype_masses(lambda: [seen], float(temperature), 3))
    torch.testing.assert_close(targets, number(f"sk_targets_temp{temperature}"), rtol=1e-5, atol=1e-5)
    losses = masked_patch_loss(student, number(f"sk_targets_temp{temperature}"), temperature=0.1)
    means = image_means(losses, masks)
    torch.testing.assert_close(means.sum(), (losses * number("masks_weight")).sum())
    loss = means.sum() / divisor
    loss.backward()
    torch.testing.assert_close(loss, number(f"loss_temp{temperature}_norm_{name}"), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(student.grad, number(f"grad_temp{temperature}_norm_{name}"), rtol=1e-5, atol=1e-6)


def test_softmax_targets_over_all_images_give_the_published_loss() -> None:
    masks = number("masks")
    targets = (number("teacher_patch_logits")[masks] / 0.07).softmax(dim=1)
    losses = masked_patch_loss(number("student_patch_logits")[masks], targets, temperature=0.1)
    torch.testing.assert_close(
        image_means(losses, masks).mean(), number("dense_forward_softmax0.07"), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_it_equals_the_slow_reference(temperature: float) -> None:
    targets = draw(7, 5, seed=1).softmax(dim=1)
    agree(
        lambda x: masked_patch_loss(x, targets, temperature),
        lambda x: slow_prototypes.masked_patches(x, targets, temperature),
        draw(7, 5),
    )


def test_means_are_over_the_masked_tokens_of_an_image() -> None:
    masks = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], dtype=torch.bool)
    losses = draw(6)

    def slow(losses: Tensor) -> Tensor:
        rest, means = list(losses), []
        for mask in masks:
            mine = [rest.pop(0) for masked in mask if masked]
            means.append(sum(mine) / len(mine) if mine else torch.zeros((), dtype=losses.dtype))
        return torch.stack(means)

    agree(lambda x: image_means(x, masks), slow, losses)


def test_the_temperature_is_the_students_alone_and_half_precision_is_promoted() -> None:
    logits = torch.tensor([[0.3, -0.1, 0.2]], dtype=torch.float64)
    targets = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    by_hand = -sum(
        t * (x / 0.1 - math.log(sum(math.exp(y / 0.1) for y in logits[0].tolist())))
        for t, x in zip(targets[0].tolist(), logits[0].tolist(), strict=True)
    )
    assert masked_patch_loss(logits, targets, 0.1).item() == pytest.approx(by_hand, rel=1e-14)
    assert masked_patch_loss(logits.bfloat16(), targets.float(), 0.1).dtype == torch.float32


def test_targets_take_no_gradient() -> None:
    logits, targets = torch.zeros(2, 3, requires_grad=True), torch.full((2, 3), 1 / 3, requires_grad=True)
    masked_patch_loss(logits, targets, 0.1).sum().backward()
    assert targets.grad is None


def test_entropy_of_certain_and_of_ignorant_targets() -> None:
    targets = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    assert entropy(targets).tolist() == pytest.approx([0, math.log(4)])
