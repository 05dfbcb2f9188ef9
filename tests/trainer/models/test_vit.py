"""The backbone's own way through its blocks: masks, kept branches, other sizes; otherwise timm's forward."""

from __future__ import annotations

import pytest
import torch

from synfarm_trainer.config import ModelConfig
from synfarm_trainer.models.vit import Backbone, build_vit, init_parameters

N, GRID = 6, 4


@pytest.fixture
def vit() -> Backbone:
    model = build_vit(ModelConfig(patch=8, width=24, depth=3, heads=2), image_size=8 * GRID)
    init_parameters(model, seed=1, linear_std=0.2)
    return model.double()


def images(size: int = 8 * GRID) -> torch.Tensor:
    return torch.randn(N, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_without_masks_and_drops_it_is_timms_forward_at_any_size(vit: Backbone) -> None:
    for size in (8 * GRID, 16):
        tokens = vit.tokens(images(size))
        assert tokens.shape == (N, 1 + (size // 8) ** 2, 24)
        assert torch.equal(tokens, vit.forward_features(images(size)))
        assert torch.equal(tokens[:, 0], vit(images(size)))


def test_a_masked_patch_is_replaced_before_positions_are_added(vit: Backbone) -> None:
    masks = torch.zeros(N, GRID * GRID, dtype=torch.bool)
    masks[0, 5] = masks[2, :] = True
    token = torch.full((1, 24), 0.3, dtype=torch.float64)
    plain, masked = vit.tokens(images()), vit.tokens(images(), masks=masks, mask_token=token)
    for row in range(N):
        assert torch.equal(plain[row], masked[row]) == (row not in {0, 2})
    painted = images()
    painted[0, :, 8:16, 8:16] += 1.0  # patch 5: second row, second column
    assert torch.equal(vit.tokens(painted, masks=masks, mask_token=token), masked)
    painted[0, :, 8:16, 16:24] += 1.0
    assert not torch.equal(vit.tokens(painted, masks=masks, mask_token=token)[0], masked[0])
    assert masked[2, 1:].std(dim=0).max() > 1e-3, "positions still tell masked patches apart"


def test_dropped_crops_skip_the_branch_and_kept_ones_weigh_more(vit: Backbone) -> None:
    kept = torch.ones(N, 3, 2, dtype=torch.bool)
    assert torch.allclose(vit.tokens(images(), kept=kept), vit.tokens(images()), rtol=1e-12, atol=1e-12)
    kept[1, 2, 0] = kept[4, 2, 1] = kept[5, 2, 1] = False

    def by_hand() -> torch.Tensor:
        x = vit._pos_embed(vit.patch_embed(images()))
        x = vit.blocks[1](vit.blocks[0](x))
        block = vit.blocks[2]
        through = kept[:, 2, :, None, None].double()
        x = x + through[:, 0] * block.attn(block.norm1(x)) * 6 / 5
        x = x + through[:, 1] * block.mlp(block.norm2(x)) * 6 / 4
        return vit.norm(x)

    assert torch.allclose(vit.tokens(images(), kept=kept), by_hand(), rtol=1e-10, atol=1e-12)
