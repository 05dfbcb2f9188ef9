"""The original iBOT loss against a slow reference in float64 and three published calls, whose centers follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slow_prototypes
import torch
from agreement import agree, draw

from synfarm_trainer.losses.centering import centered, next_center
from synfarm_trainer.losses.ibot import ibot_losses

PUBLISHED = np.load(Path(__file__).parents[2] / "oracles" / "baseline_losses.npz", allow_pickle=False)


def number(name: str) -> torch.Tensor:
    return torch.from_numpy(np.asarray(PUBLISHED[f"ibotorig/{name}"]))


def test_three_published_calls() -> None:
    """At epochs 0, 1 and 5: the temperature rises from 0.04 to 0.07 over three epochs, each call moves both centers."""
    masks = torch.stack([number("mask0"), number("mask1")]).flatten(2)
    classes = torch.cat([number("student_cls"), number("student_local_cls")]).reshape(4, 4, 24)
    patches = number("student_patch").reshape(2, 4, 16, 24)
    seen_classes, seen_patches = number("teacher_cls"), number("teacher_patch")
    class_center, patch_center = torch.zeros(24), torch.zeros(24)
    for epoch, temperature in ((0, 0.04), (1, 0.055), (5, 0.07)):
        class_losses, patch_losses = ibot_losses(
            classes,
            centered(seen_classes, class_center, temperature).reshape(2, 4, 24),
            patches,
            centered(seen_patches, patch_center, temperature).reshape(2, 4, 16, 24),
            masks,
            0.1,
        )
        class_center = next_center(seen_classes, class_center, 0.9)
        patch_center = next_center(seen_patches, patch_center, 0.9)
        for name, found in {
            "cls": class_losses.mean(),
            "patch": patch_losses.mean(),
            "loss": class_losses.mean() + patch_losses.mean(),
            "center_after": class_center[None],
            "center2_after": patch_center[None, None],
        }.items():
            torch.testing.assert_close(found, number(f"epoch{epoch}/{name}"), rtol=1e-5, atol=1e-6)


def test_it_equals_the_slow_reference() -> None:
    masks = draw(2, 3, 4, seed=5) > 0
    masks[0, 1] = False
    class_targets, patch_targets = draw(2, 3, 5, seed=1).softmax(dim=-1), draw(2, 3, 4, 6, seed=2).softmax(dim=-1)
    agree(
        lambda classes, patches: torch.stack(ibot_losses(classes, class_targets, patches, patch_targets, masks, 0.1)),
        lambda classes, patches: torch.stack(
            [
                slow_prototypes.dino(classes, class_targets, 0.1, shared=2),
                slow_prototypes.ibot_patches(patches, patch_targets, masks, 0.1),
            ]
        ),
        draw(4, 3, 5, seed=3),
        draw(2, 3, 4, 6, seed=4),
    )
