"""Schedules, teacher average, optimiser groups, initialisation, k-NN, exit records: the small parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from synfarm_trainer import ema
from synfarm_trainer.config import EmaConfig, OptimConfig, ScheduleConfig
from synfarm_trainer.evals.knn import colour_histogram, evaluate, raw_pixels
from synfarm_trainer.journal import leave_exit_record
from synfarm_trainer.models.heads import mlp_head
from synfarm_trainer.objectives.synclr.networks import Student, build_networks
from synfarm_trainer.optim import build_optimizer, set_hyperparameters
from synfarm_trainer.presets import resolve
from synfarm_trainer.schedules import ema_momentum, learning_rate, weight_decay


def test_schedules_at_the_points_that_the_paper_fixes() -> None:
    schedule, optim = ScheduleConfig(steps=500_000, warmup_steps=80_000), OptimConfig(lr=2e-3)
    assert [learning_rate(s, schedule, optim) for s in (0, 40_000, 80_000)] == [0.0, 1e-3, 2e-3]
    assert learning_rate(290_000, schedule, optim) == pytest.approx(1e-3)
    assert learning_rate(500_000, schedule, optim) == pytest.approx(0, abs=1e-18)
    assert [weight_decay(s, schedule, optim) for s in (0, 250_000, 500_000)] == pytest.approx([0.04, 0.12, 0.2])
    assert [ema_momentum(s, schedule, EmaConfig()) for s in (0, 250_000, 500_000)] == pytest.approx([0.994, 0.997, 1])


def test_the_teacher_has_no_predictor_no_gradient_and_follows_by_the_momentum() -> None:
    networks = build_networks(resolve("tiny", {"objective.ibot_weight": 1.0}), seed=1)
    student, teacher = dict(networks.student.named_parameters()), dict(networks.teacher.named_parameters())
    own = {name for name in student if name not in teacher}
    assert own == {name for name in student if name.startswith("predictor.")} | {"mask_token"}
    assert not any(p.requires_grad for p in teacher.values())
    assert not networks.teacher.training
    name = "projector.0.weight"
    before = teacher[name].clone()
    with torch.no_grad():
        student[name].add_(1.0)
    ema.update(networks.teacher, networks.student, 0.75)
    assert torch.allclose(teacher[name], 0.75 * before + 0.25 * student[name].detach())


def test_the_papers_backbone_has_the_papers_size() -> None:
    config = resolve("vit-b16")
    with torch.device("meta"):
        student = Student(config)
    sizes = {name: p.numel() for name, p in student.named_parameters()}
    backbone = sum(size for name, size in sizes.items() if name.startswith("backbone."))
    assert backbone == 86_567_656 - 1000 * (768 + 1), "timm's figure less its classifier"
    assert sizes["patch_head.prototypes"] == 65_536 * 256
    assert sizes["projector.0.weight"] == 768 * 4096


def test_initial_weights_are_a_function_of_the_seed() -> None:
    config = resolve("tiny", {"objective.ibot_weight": 1.0})
    torch.manual_seed(1)
    first = build_networks(config, seed=3).student.state_dict()
    torch.manual_seed(2)
    second, other = build_networks(config, seed=3).student.state_dict(), build_networks(config, seed=4).student
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["backbone.pos_embed"], other.state_dict()["backbone.pos_embed"])
    assert first["backbone.blocks.0.attn.qkv.weight"].std().item() == pytest.approx(config.model.init_std, rel=0.05)
    assert first["backbone.blocks.0.attn.qkv.bias"].abs().max() == 0
    assert first["backbone.norm.weight"].min() == 1
    assert first["patch_head.gain"].unique().tolist() == [1]
    assert first["mask_token"].std().item() == pytest.approx(0.02, rel=0.3)


def test_heads_have_the_layers_of_the_method() -> None:
    head = mlp_head(6, 10, 4, hidden_layers=2)
    assert [type(layer).__name__ for layer in head] == [
        *("Linear", "LayerNorm", "GELU") * 2,
        *("Linear", "LayerNorm"),
    ]
    assert head[0].in_features == 6
    assert head[6].bias is None
    assert not head[7].elementwise_affine


def test_only_matrices_are_decayed_also_by_a_schedule_that_starts_at_nothing() -> None:
    networks = build_networks(resolve("tiny"), seed=1)
    optimizer = build_optimizer(networks.student, OptimConfig(weight_decay=0.0))
    set_hyperparameters(optimizer, lr=0.5, weight_decay=0.3)
    decayed, plain = optimizer.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"], plain["lr"]) == (0.3, 0.0, 0.5)
    assert all(p.ndim < 2 for p in plain["params"])
    assert all(p.ndim >= 2 for p in decayed["params"])


def test_knn_tells_clusters_apart_and_bootstraps_by_caption() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    x = (np.eye(4)[labels] * 6 + rng.normal(size=(400, 4))).astype(np.float32)
    x = np.concatenate([x, np.full((400, 1), 3.0, dtype=np.float32)], axis=1)
    captions = np.arange(200) // 4
    keywords = {"k": 5, "classes": 4, "resamples": 200, "seed": 0}
    good = evaluate(x[:200], labels[:200], x[200:], labels[200:], captions, **keywords)
    assert good.top1 > 0.95
    noise = rng.normal(size=(400, 5)).astype(np.float32)
    chance = evaluate(noise[:200], labels[:200], noise[200:], labels[200:], captions, **keywords)
    assert abs(chance.top1 - 0.25) < 0.12
    right = np.repeat(np.arange(50) % 2, 4)
    test = np.eye(4, dtype=np.float32)[right]
    whole = evaluate(np.eye(4, dtype=np.float32), np.arange(4), test, 0 * right, captions, **keywords)
    assert whole.top1 == 0.5
    assert whole.standard_error == pytest.approx((0.25 / 50) ** 0.5, rel=0.2), "50 captions, not 200 images"


def test_colour_histograms_ignore_where_the_colours_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    turned = pixels[:, ::-1, ::-1]
    assert np.array_equal(colour_histogram(pixels), colour_histogram(turned))
    assert np.allclose((colour_histogram(pixels) ** 2).sum(axis=1), 1)


def test_the_floor_of_raw_pixels_does_not_grow_with_large_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert np.array_equal(raw_pixels(pixels), pixels.reshape(2, -1))
    large = pixels.repeat(3, axis=1).repeat(3, axis=2)
    assert np.array_equal(raw_pixels(large), raw_pixels(pixels))


def test_the_first_rank_that_fails_has_the_word(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "exit-000000.json"
    assert leave_exit_record(path, "data", "shard gone", 3)
    assert not leave_exit_record(path, "crash", "connection closed", 3)
    assert json.loads(path.read_text()) == {"reason": "data", "detail": "shard gone", "step": 3}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
