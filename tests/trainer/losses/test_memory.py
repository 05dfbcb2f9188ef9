"""The forms that compute twice hold at most an eighth of what the plain ones hold, forward and backward together.

Small sizes, counted and not measured; ``benchmarks/bench_losses.py`` measures processes at a quarter of the paper's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from agreement import directions
from held import Held
from torch import Tensor

from synfarm_trainer.losses.contrast_tiles import multi_positive_loss_in_tiles
from synfarm_trainer.losses.masked_patches import masked_patch_loss
from synfarm_trainer.losses.multi_positive import multi_positive_loss
from synfarm_trainer.losses.patch_pieces import PatchSide, logit_pieces, masked_patch_loss_in_pieces
from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses

SHARE = 8


def peak(loss: Callable[..., Tensor], *inputs: Tensor) -> int:
    """Bytes beside the inputs: all that is made on the way there and back, gradients too."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    with Held() as held:
        loss(*leaves).mean().backward()
    return held.peak


def test_masked_patches_with_their_targets() -> None:
    tokens, prototypes, width = 512, 1024, 16
    embedded, seen = directions(tokens, width), directions(tokens, width, seed=1)
    mine, theirs = directions(prototypes, width, seed=2), directions(prototypes, width, seed=3)
    logits = seen @ theirs.T
    masses = prototype_masses(lambda: [logits], 0.07, 3)

    def plain(embedded: Tensor, mine: Tensor) -> Tensor:
        return masked_patch_loss(embedded @ mine.T, assignment(seen @ theirs.T, 0.07, masses), 0.1)

    def in_pieces(embedded: Tensor, mine: Tensor) -> Tensor:
        sides = PatchSide(embedded, mine, 0.1), PatchSide(seen, theirs, 0.07)
        return masked_patch_loss_in_pieces(*sides, masses, at_once=tokens * prototypes // 64)[0]

    whole = peak(plain, embedded, mine)
    assert whole > 3 * logits.nbytes, "the count sees what is held"
    assert peak(in_pieces, embedded, mine) <= whole / SHARE


def test_the_masses_of_sinkhorn() -> None:
    tokens, prototypes = 512, 1024
    seen, theirs = directions(tokens, 16), directions(prototypes, 16, seed=1)

    def held_at(at_once: int) -> int:
        with Held() as held:
            prototype_masses(lambda: logit_pieces(seen, theirs, at_once=at_once), 0.07, 3)
        return held.peak

    assert held_at(tokens * prototypes // 32) <= held_at(tokens * prototypes) / SHARE


def test_contrastive_logits() -> None:
    count, width = 1024, 16
    anchors, keys = directions(count, width), directions(count, width, seed=1)
    rest = torch.arange(count) // 4, torch.arange(count) // 4, torch.arange(count), 0.08
    whole = peak(lambda a, k: multi_positive_loss(a, k, *rest), anchors, keys)
    assert whole > 3 * count * count * anchors.itemsize, "the count sees what is held"
    tiles = peak(lambda a, k: multi_positive_loss_in_tiles(a, k, *rest, tile=(128, 128)), anchors, keys)
    assert tiles <= whole / SHARE
