"""Crops of two sizes in one pass: values and gradients are those of a pass for each size."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from synfarm_trainer.config import ModelConfig
from synfarm_trainer.models import crops_pass
from synfarm_trainer.models.crops_pass import Crops
from synfarm_trainer.models.vit import Backbone, build_vit, init_parameters

GLOBAL, LOCAL, PATCH, WIDTH = 4, 6, 8, 24


def vit(depth: int) -> Backbone:
    model = build_vit(ModelConfig(patch=PATCH, width=WIDTH, depth=depth, heads=2), image_size=4 * PATCH)
    init_parameters(model, seed=1, linear_std=0.2)
    return model.double()


def crops(depth: int, *, masked: bool, dropped: Sequence[bool]) -> list[Crops]:
    """Four crops of 4 x 4 patches and six of 2 x 2; of those that drop, another share of each size and branch."""
    generator = torch.Generator().manual_seed(2)

    def images(count: int, grid: int) -> Tensor:
        return torch.randn(count, 3, grid * PATCH, grid * PATCH, generator=generator, dtype=torch.float64)

    def kept(count: int) -> Tensor:
        order = torch.rand(count, depth, 2, generator=generator).argsort(dim=0)
        fewest = torch.tensor([count - 1, count // 2])
        return order < fewest

    masks = torch.rand(GLOBAL, 16, generator=generator) < 0.4 if masked else None
    sizes = ((GLOBAL, 4), (LOCAL, 2))
    found = [
        Crops(images(*size), kept=kept(size[0]) if drops else None) for size, drops in zip(sizes, dropped, strict=True)
    ]
    return [found[0]._replace(masks=masks), found[1]]


def gradients(model: Backbone, token: Tensor, found: Sequence[Tensor]) -> dict[str, Tensor]:
    """Of a sum in which each number of each size weighs differently."""
    weighed = [(part * torch.linspace(-1, 2, part.numel(), dtype=part.dtype).view_as(part)).sum() for part in found]
    names, parameters = zip(*model.named_parameters(), strict=True)
    made = torch.autograd.grad(torch.stack(weighed).sum(), [*parameters, token], allow_unused=True)
    return {name: grad for name, grad in zip([*names, "mask_token"], made, strict=True) if grad is not None}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dropped", [(False, False), (True, True), (False, True)])
def test_one_pass_is_a_pass_for_each_size(depth: int, masked: bool, dropped: tuple[bool, bool]) -> None:
    model, given = vit(depth), crops(depth, masked=masked, dropped=dropped)
    token = torch.full((1, WIDTH), 0.3, dtype=torch.float64, requires_grad=True)
    apart = [model.tokens(one.images, masks=one.masks, mask_token=token, kept=one.kept) for one in given]
    together = model.tokens_of(given, token)
    for one, other in zip(together, apart, strict=True):
        assert one.shape == other.shape
        assert float((one - other).detach().abs().max()) < 1e-10
    of_one, of_each = gradients(model, token, together), gradients(model, token, apart)
    assert of_one.keys() == of_each.keys()
    assert ("mask_token" in of_one) == masked
    for name, right in of_each.items():
        # timm resamples positions for local crops in float32.
        tolerance = 1e-5 if name == "pos_embed" else 1e-10
        assert float((of_one[name] - right).abs().max()) < tolerance * max(1.0, float(right.abs().max())), name


def test_linear_layers_see_all_sizes_at_once_and_only_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = 2
    model, given = vit(depth), crops(depth, masked=False, dropped=(True, True))
    seen: list[int] = []
    for part in model.blocks.modules():
        if isinstance(part, nn.Linear):
            part.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    attended: list[tuple[int, ...]] = []
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def note(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attended.append((query.shape[0], query.shape[2]))
        return sdpa(query, key, value)

    monkeypatch.setattr(crops_pass.functional, "scaled_dot_product_attention", note)
    model.tokens_of(given)
    # Three of four and five of six go through attention, half of each through the MLP.
    through_attention, through_mlp = 3 * 17 + 5 * 5, 2 * 17 + 3 * 5
    assert seen == [through_attention, through_attention, through_mlp, through_mlp] * depth
    assert attended == [(3, 17), (5, 5)] * depth


def test_the_pass_repeats_itself_bit_for_bit_in_float32() -> None:
    model = vit(2).float()
    given = [one._replace(images=one.images.float()) for one in crops(2, masked=True, dropped=(True, True))]
    token = torch.zeros(1, WIDTH, requires_grad=True)
    first, second = (gradients(model, token, model.tokens_of(given, token)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
