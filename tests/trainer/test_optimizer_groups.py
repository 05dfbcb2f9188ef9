"""What is decayed, and at what rate each layer learns: by names, by steps computed by hand, over a resume."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from synfarm_trainer.config import OptimConfig, ScheduleConfig, from_dict, to_dict
from synfarm_trainer.groups import is_decayed, learning_rate_scale, parameter_groups
from synfarm_trainer.objectives.protocol import Objective
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.optim import build_optimizer, load_moments, moments, set_hyperparameters
from synfarm_trainer.presets import resolve
from synfarm_trainer.schedules import weight_decay

PUBLISHED = np.load(Path(__file__).parents[1] / "oracles" / "schedules.npz", allow_pickle=False)
OBJECTIVES: dict[str, dict[str, object]] = {
    "synclr": {"objective.ibot_weight": 1.0},
    "stablerep": {},
    "moco_v3": {"data.crops": 2},
    "mae": {"mask.images": 1.0, "mask.ratio": [0.75, 0.75]},
    "dinov2": {"data.crops": 2, "data.cell_captions": 2},
    "clip": {},
}
LEARNED = {
    "synclr": {"backbone.cls_token", "backbone.pos_embed", "mask_token", "patch_head.gain"},
    "stablerep": {"backbone.cls_token", "backbone.pos_embed"},
    "moco_v3": {"backbone.cls_token", "backbone.pos_embed"},
    "mae": {"backbone.cls_token", "backbone.pos_embed", "decoder.mask_token", "decoder.positions"},
    "dinov2": {
        *("backbone.cls_token", "backbone.pos_embed", "mask_token"),
        *("class_head.gain", "own_patch_head.gain"),
    },
    "clip": {"backbone.cls_token", "backbone.pos_embed", "text.positions"},
}
"""Of two dimensions or more, and no weight of a layer: what the rules differ in (pitfall 23)."""


def built(name: str) -> Objective:
    return build_objective(resolve("tiny", {"objective.name": name, **OBJECTIVES[name]}), seed=1, concepts=3)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_23_what_is_decayed_is_known_by_name_for_each_rule(name: str) -> None:
    """Gains, class token, positions and mask token are (release, DINO) or are not (kernels); biases and norms never."""
    student = built(name).student
    decayed = {
        rule: {n for n, p in student.named_parameters() if is_decayed(n, p.ndim, rule)}
        for rule in ("release", "dino", "kernels")
    }
    assert decayed["release"] == decayed["dino"]
    assert decayed["release"] - decayed["kernels"] == LEARNED[name]
    assert decayed["kernels"] < decayed["release"]
    layers = dict(student.named_modules())
    for n, p in student.named_parameters():
        layer = layers[n.rpartition(".")[0]]
        if n.endswith("bias") or isinstance(layer, nn.LayerNorm) or p.ndim < 2:
            assert n not in decayed["release"], n
        else:
            assert n in decayed["release"], n
            kernel = isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding) or n.endswith("prototypes")
            assert (n in decayed["kernels"]) == kernel, n


def test_a_norms_matrix_is_decayed_by_neither_published_rule_under_its_name() -> None:
    assert not is_decayed("head.bn1.weight", 2, "release")
    assert not is_decayed("text.ln_final.weight", 2, "release")
    assert not is_decayed("blocks.0.relative_position_bias_table", 2, "release")
    assert not is_decayed("backbone.blocks.0.norm1.weight", 2, "dino")
    assert not is_decayed("backbone.blocks.0.ls1.gamma", 2, "dino")


def test_23_a_decay_that_starts_at_nothing_ramps_and_moves_only_what_is_decayed() -> None:
    """Without any gradient but zeros decay alone moves: by hand it is w * product of (1 - lr * wd)."""
    student, config = built("synclr").student, OptimConfig(weight_decay=0.0, weight_decay_end=0.5)
    schedule = ScheduleConfig(steps=8, warmup_steps=0)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.fill_(1.0)
    optimizer = build_optimizer(student, config)
    factor = 1.0
    for step in range(5):
        for parameter in student.parameters():
            parameter.grad = torch.zeros_like(parameter)
        amount = 0.5 * (1 - math.cos(math.pi * step / 8)) / 2
        assert weight_decay(step, schedule, config) == pytest.approx(amount, abs=1e-15)
        set_hyperparameters(optimizer, lr=0.1, weight_decay=amount)
        optimizer.step()
        factor *= 1 - 0.1 * amount
    assert factor < 0.96
    for name, parameter in student.named_parameters():
        wanted = factor if is_decayed(name, parameter.ndim, "release") else 1.0
        assert parameter.flatten()[0].item() == pytest.approx(wanted, rel=1e-6), name


def test_layers_learn_at_the_rate_of_their_depth() -> None:
    """Four blocks: the class token is five layers below the heads."""
    config = OptimConfig(layer_decay=0.5, patch_embed_scale=0.2)
    wanted = {
        "backbone.cls_token": 0.5**5,
        "backbone.pos_embed": 0.5**5,
        "mask_token": 0.5**5,
        "backbone.patch_embed.proj.weight": 0.5**5 * 0.2,
        "backbone.patch_embed.proj.bias": 0.5**5 * 0.2,
        "backbone.blocks.0.attn.qkv.weight": 0.5**4,
        "backbone.blocks.3.norm1.bias": 0.5,
        "backbone.norm.weight": 1.0,
        "projector.0.weight": 1.0,
        "patch_head.prototypes": 1.0,
    }
    student = built("synclr").student
    names = dict(student.named_parameters())
    assert {name: learning_rate_scale(name, 4, config) for name in wanted} == wanted
    optimizer = build_optimizer(student, config)
    set_hyperparameters(optimizer, lr=0.3, weight_decay=0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: rates[id(names[name])] for name in wanted} == {name: 0.3 * part for name, part in wanted.items()}
    assert len(rates) == len(names)
    assert list(parameter_groups(student, OptimConfig())) == [(True, 1.0), (False, 1.0)]


def test_rates_of_layers_and_kernels_are_those_of_published_fine_tuning() -> None:
    """Twelve blocks, 0.65; what it decays, by 0.05, is what ``kernels`` does."""
    found = {name: PUBLISHED[f"finetune_vitb_ld0.65/{name}"] for name in ("names", "lr_scale", "weight_decay")}
    names = [name if name.startswith("head.") else f"backbone.{name}" for name in found["names"].tolist()]
    scales = [learning_rate_scale(name, 12, OptimConfig(layer_decay=0.65)) for name in names]
    np.testing.assert_allclose(scales, found["lr_scale"], rtol=1e-12)
    tensors = {"weight": 2, "bias": 1}
    decayed = []
    for name in names:
        parts = name.split(".")
        dimensions = 1 if "norm" in parts[-2] else tensors.get(parts[-1], 3)
        decayed.append(0.05 * is_decayed(name, dimensions, "kernels"))
    np.testing.assert_allclose(decayed, found["weight_decay"], rtol=1e-12)


@pytest.mark.parametrize("rule", ["release", "kernels"])
def test_two_steps_are_those_of_adamw_by_hand_and_a_resume_is_bit_equal(rule: str) -> None:
    """Every number of the update in float64, tensor by tensor; moments travel by name into other groups' order."""
    config = OptimConfig(layer_decay=0.6, patch_embed_scale=0.3, beta2=0.98, decay_rule=rule)
    first, second = (built("synclr").student.double() for _ in range(2))
    optimizer, resumed = build_optimizer(first, config), build_optimizer(second, config)
    names = dict(first.named_parameters())
    weights = {name: p.detach().clone() for name, p in names.items()}
    means = {name: torch.zeros_like(p) for name, p in weights.items()}
    squares = {name: torch.zeros_like(p) for name, p in weights.items()}
    for step, (lr, decay) in enumerate(((0.01, 0.3), (0.02, 0.0)), start=1):
        generator = torch.Generator().manual_seed(step)
        for name, parameter in names.items():
            grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = grad.clone()
            rate = lr * learning_rate_scale(name, 4, config)
            means[name] = 0.9 * means[name] + 0.1 * grad
            squares[name] = 0.98 * squares[name] + 0.02 * grad**2
            if is_decayed(name, parameter.ndim, rule):
                weights[name] = weights[name] * (1 - rate * decay)
            mean, square = means[name] / (1 - 0.9**step), squares[name] / (1 - 0.98**step)
            weights[name] = weights[name] - rate * mean / (square.sqrt() + 1e-8)
        if step == 2:
            second.load_state_dict(first.state_dict())
            load_moments(second, resumed, moments(first, optimizer))
            for mine, theirs in zip(first.parameters(), second.parameters(), strict=True):
                theirs.grad = mine.grad.clone()
            set_hyperparameters(resumed, lr=lr, weight_decay=decay)
            resumed.step()
        set_hyperparameters(optimizer, lr=lr, weight_decay=decay)
        optimizer.step()
    for name, parameter in names.items():
        torch.testing.assert_close(parameter.detach(), weights[name], rtol=1e-12, atol=1e-13)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_run_that_was_frozen_before_these_fields_goes_on_without_them() -> None:
    old = to_dict(resolve("tiny"))
    for section, name in (
        *(("optim", name) for name in ("decay_rule", "layer_decay", "patch_embed_scale")),
        ("objective", "last_layer_frozen"),
    ):
        del old[section][name]
    assert from_dict(old) == resolve("tiny")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optim.decay_rule": "paper"}, r"optim\.decay_rule: must be one of release, dino, kernels"),
        ({"optim.layer_decay": 1.1}, r"optim\.layer_decay: must be in \(0, 1\]"),
        ({"optim.patch_embed_scale": -1.0}, r"optim\.patch_embed_scale: must not be negative"),
        ({"objective.last_layer_frozen": 1.0}, r"objective\.last_layer_frozen: is a share of the run"),
    ],
)
def test_options_out_of_their_bounds_are_refused(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve("tiny", overrides)
