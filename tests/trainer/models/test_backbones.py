"""Backbones by size and by timm's name: how large they are, what is refused, what an export holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load
from timm.models.vision_transformer import VisionTransformer

from synfarm.contracts import layout
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.config import ModelConfig
from synfarm_trainer.export import export_backbone
from synfarm_trainer.models.places import places_of
from synfarm_trainer.models.vit import Backbone, build_vit, init_parameters
from synfarm_trainer.objectives.mae import build_mae
from synfarm_trainer.presets import resolve

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"


def named(name: str, size: int, depth: int) -> Backbone:
    """The first blocks of a backbone of timm's, in float64."""
    config = resolve("tiny", {"model.timm": name, "augment.size": size})
    model = build_vit(config.model, size)
    init_parameters(model, seed=1, linear_std=0.1)
    model.blocks = model.blocks[:depth]
    return model.double()


@pytest.mark.parametrize(
    ("sizes", "local", "parameters"),
    [
        ({"model.patch": 16, "model.width": 768, "model.depth": 12, "model.heads": 12}, 96, 86_567_656),
        ({"model.patch": 14, "model.width": 1024, "model.depth": 24, "model.heads": 16}, 98, 304_203_752),
    ],
)
def test_the_papers_backbones_have_the_papers_sizes_and_take_its_local_crops(
    sizes: dict[str, object], local: int, parameters: int
) -> None:
    config = resolve("vit-b16", {**sizes, "local_crops.size": local})
    with torch.device("meta"):
        model = build_vit(config.model, config.augment.size)
        tokens = model.tokens(torch.empty(2, 3, local, local))
    classifier = 1000 * (config.model.width + 1)
    assert sum(p.numel() for p in model.parameters()) + classifier == parameters
    assert tokens.shape == (2, 1 + (local // config.model.patch) ** 2, config.model.width)


def test_a_name_of_timm_settles_the_sizes_and_survives_a_freeze() -> None:
    config = resolve("tiny", {"model.timm": "vit_small_patch16_224", "augment.size": 64})
    sizes = config.model.patch, config.model.width, config.model.depth, config.model.heads, config.model.mlp_ratio
    assert sizes == (16, 384, 12, 6, 4.0)
    assert config.patches == 16
    plain = ModelConfig(patch=16, width=384, depth=12, heads=6)
    with torch.device("meta"):
        mine, same = (build_vit(model, 64).state_dict() for model in (config.model, plain))
    assert {name: tensor.shape for name, tensor in mine.items()} == {name: t.shape for name, t in same.items()}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_smal_patch16_224", "timm has no model 'vit_smal_patch16_224'; did you mean vit_small_patch16_224"),
        ("vit_small_patch16_dinov3", "is of timm's class Eva, not offered; name a plain ViT with a class token"),
        ("deit_tiny_distilled_patch16_224", "is of timm's class VisionTransformerDistilled, not offered"),
        ("vit_wee_patch16_reg1_gap_256", "has no class token; name a plain ViT"),
        ("vit_small_patch16_18x2_224", "has layers that are not offered; name a plain ViT"),
        ("vit_xsmall_patch16_clip_224", "has layers that are not offered"),
        ("vit_giant_patch14_dinov2", "has layers that are not offered"),
    ],
)
def test_other_families_are_refused_with_a_cure_before_anything_is_built(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^model\.timm: .*{message}"):
        resolve("tiny", {"model.timm": name})


def test_a_size_beside_a_name_is_refused_when_asked_for_and_when_built() -> None:
    cure = r"model\.width: .* 384.*leave it out, or set model\.timm to ''"
    with pytest.raises(ValueError, match=cure):
        resolve("tiny", {"model.timm": "vit_small_patch16_224", "model.width": 512})
    with pytest.raises(ValueError, match=cure):
        build_vit(ModelConfig(timm="vit_small_patch16_224"), 224)


def test_registers_go_through_the_blocks_and_never_pass_for_patches() -> None:
    """timm's own forward has them; masks, mask tokens, visible patches and kept branches count patches alone."""
    model = named("vit_base_patch14_reg4_dinov2", size=28, depth=2)
    assert model.num_prefix_tokens == 5
    with torch.no_grad():
        assert 0 < float(model.reg_token.abs().max()) < 1e-4
        for block in model.blocks:
            for scale in (block.ls1, block.ls2):
                assert float(scale.gamma[0]) == float(torch.tensor(1e-5))
                scale.gamma.fill_(1.0)
        model.reg_token.normal_(generator=torch.Generator().manual_seed(3))
        images = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        theirs, mine = model.forward_features(images), model.tokens(images)
        assert mine.shape == (3, 1 + 4, 768)
        assert torch.equal(mine, theirs[:, [0, 5, 6, 7, 8]])
        masks = torch.tensor([[False, True, False, False]] * 3)
        token = torch.full((1, 768), 0.3, dtype=torch.float64)
        masked = model.tokens(images, masks=masks, mask_token=token)
        painted = images.clone()
        painted[:, :, :14, 14:] += 1.0
        assert torch.equal(masked, model.tokens(painted, masks=masks, mask_token=token))
        every = torch.ones(3, 4, dtype=torch.bool)
        assert torch.equal(model.tokens(images, visible=places_of(every, every.device)), mine)
        some = model.tokens(images, visible=places_of(~masks, masks.device))
        assert some.shape == (3, 1 + 3, 768)
        assert torch.equal(some, model.tokens(painted, visible=places_of(~masks, masks.device)))
        kept = torch.ones(3, 2, 2, dtype=torch.bool)
        torch.testing.assert_close(model.tokens(images, kept=kept), mine, rtol=1e-12, atol=1e-12)
        assert model.tokens(images[:, :, :14]).shape == (3, 1 + 2, 768)


@pytest.mark.parametrize("name", ["", "vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_31_an_export_is_loaded_by_timms_class_strictly_and_gives_the_same_features(name: str) -> None:
    size = 28 if "14" in name else 32
    config = resolve("tiny", {"model.timm": name, "augment.size": size})
    model = build_vit(config.model, size)
    init_parameters(model, seed=1, linear_std=0.1)
    store = MemoryStore()
    export_backbone(store, RUN, 3, model, config, network="teacher")
    described = json.loads(store.get(layout.export_file(RUN, "backbone.json")))
    assert described["architecture"] == "timm.models.vision_transformer.VisionTransformer"
    again = VisionTransformer(**described["arguments"])
    again.load_state_dict(load(store.get(layout.export_file(RUN, "backbone.safetensors"))), strict=True)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(images), model.tokens(images)[:, 0])
    assert again(images).shape == (2, config.model.width)


def test_mae_counts_patches_alone_beside_registers() -> None:
    overrides: dict[str, object] = {
        "model.timm": "vit_small_patch14_reg4_dinov2",
        "augment.size": 28,
        "objective.name": "mae",
        "objective.decoder_depth": 1,
        "mask.images": 1.0,
        "mask.ratio": [0.5, 0.5],
    }
    with torch.device("meta"):
        objective: Any = build_mae(resolve("tiny", overrides), seed=1, concepts=3)
    images = torch.randn(2, 3, 28, 28)
    student = objective.student.to_empty(device="cpu")
    painted, classes = student(images, torch.tensor([[True, False, True, False]] * 2))
    assert (painted.shape, classes.shape) == ((4, 3 * 14**2), (2, 384))
