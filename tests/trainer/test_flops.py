"""The work of a step by its formula, against what torch counts when the real objective takes one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from synfarm_trainer.api.journal import JournalLine
from synfarm_trainer.api.live import LiveRun
from synfarm_trainer.config import ExecutionConfig, TrainConfig
from synfarm_trainer.data.cells import draw_masks
from synfarm_trainer.data.cropids import CropIds, global_crops
from synfarm_trainer.data.texts import END
from synfarm_trainer.flops import backbone_flops, row_flops, step_flops
from synfarm_trainer.models.heads import PatchHead
from synfarm_trainer.models.vit import build_vit
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.presets import resolve
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.speed import Peak, Speed, peak_of

sys.path.append(str(Path(__file__).parent / "objectives"))

import cuts

SIZES: dict[str, object] = {**cuts.ALL_ON, "model.width": 48, "model.depth": 3, "model.heads": 3, "augment.size": 32}
"""Small, and the backbone is still most of it: what a loss computes twice to save memory stays below a per cent."""
PROTOTYPES: dict[str, object] = {
    "data.crops": 2,
    "objective.prototypes": 8,
    "objective.prototype_hidden": 16,
    "objective.prototype_bottleneck": 8,
}
HEADS: dict[str, object] = {"objective.head_hidden": 64, "objective.head_out": 4}
PATCHES: dict[str, object] = {"mask.images": 0.5, "mask.ratio": [0.1, 0.5]}
CASES: dict[str, dict[str, object]] = {
    "synclr": {
        **HEADS, **PATCHES, "objective.prototypes": 8, "objective.patch_hidden": 16, "objective.patch_bottleneck": 8
    },
    "stablerep": HEADS,
    "simclr": {**HEADS, "data.crops": 2},
    "supce": {},
    "moco_v3": {**HEADS, "data.crops": 2},
    "mae": {"mask.images": 1.0, "mask.ratio": [0.75, 0.75]},
    "dino": PROTOTYPES,
    "ibot": {**PROTOTYPES, **PATCHES},
    "dinov2": {**PROTOTYPES, **PATCHES},
    "clip": {"objective.joint_width": 16, "objective.context": 16},
}  # fmt: skip


@pytest.fixture
def products() -> Iterator[FlopCounterMode]:
    """Attention written as two products: torch has no formula for its fused form on CPUs."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


def masks(config: TrainConfig) -> torch.Tensor | None:
    index, k = np.arange(cuts.CAPTIONS).repeat(cuts.VIEWS), np.tile(np.arange(cuts.VIEWS), cuts.CAPTIONS)
    ids = CropIds.of(np.ones(cuts.IMAGES, dtype=np.int64), index, k, global_crops(config.data.crops))
    drawn = draw_masks(config, 1, 0, ids)
    return None if drawn is None else torch.from_numpy(drawn)


def texts(config: TrainConfig) -> torch.Tensor:
    tokens = torch.zeros(cuts.CAPTIONS, config.objective.text_context, dtype=torch.int64)
    tokens[:, 3] = END
    return tokens


@pytest.mark.parametrize("name", CASES)
def test_the_formula_is_what_torch_counts(
    small_config: Callable[..., TrainConfig], products: FlopCounterMode, name: str
) -> None:
    config = small_config({"objective.name": name, **SIZES, **CASES[name]})
    objective = build_objective(config, seed=1, concepts=5)
    batch = cuts.draw_batch(config, masks(config))
    batch = replace(batch, concepts=batch.labels % 5, texts=texts(config) if name == "clip" else None)
    before = products.get_total_flops()
    objective.accumulate_gradients(batch, Ranks(), step=10, micro_crops=len(batch))
    counted = products.get_total_flops() - before
    assert step_flops(config, objective) == pytest.approx(counted, rel=0.01)


def test_a_head_of_prototypes_is_counted_with_its_masked_tokens_alone(products: FlopCounterMode) -> None:
    head, tokens = PatchHead(12, 20, 6, 50), torch.randn(7, 12, requires_grad=True)
    torch.nn.init.normal_(head.prototypes)
    functional.cross_entropy(head(tokens), torch.arange(7)).backward()
    assert products.get_total_flops() == 3 * 7 * row_flops(head)


def test_the_published_sizes() -> None:
    """GFLOPs of a forward pass that everybody knows: ViT-B/16 35.1 (17.6 G multiply-adds), and 96-pixel crops."""
    config = resolve("vit-b16", {"model.drop_path": 0.0})
    with torch.device("meta"):
        vit = build_vit(config.model, 224)
    assert backbone_flops(vit, 1, 196, learns=False) == pytest.approx(35.1e9, rel=0.01)
    assert backbone_flops(vit, 1, 36, learns=False) == pytest.approx(6.4e9, rel=0.02)
    # Half of the crops skip the last block.
    kept = (1.0,) * 11 + (0.5,)
    assert backbone_flops(vit, 2, 196, kept=kept, learns=False) == pytest.approx(2 * 35.1e9 * 11.5 / 12, rel=0.01)


def test_mfu_names_both_peaks_and_needs_to_know_them() -> None:
    told = Speed(flops=6e14, ranks=2, peak=Peak(400, 300)).of(seconds=1.5)
    assert told == {
        "model_flops": 6e14,
        "tflops_per_second": pytest.approx(200),
        "mfu": pytest.approx(0.5),
        "mfu_achievable": pytest.approx(2 / 3),
    }
    cpu = torch.device("cpu")
    assert peak_of(ExecutionConfig(), cpu) == Peak(0, 0)
    assert Speed(1e9, 1, peak_of(ExecutionConfig(), cpu)).of(1.0)["mfu"] is None
    assert peak_of(ExecutionConfig(peak_tflops=2.0, achievable_tflops=1.0), cpu) == Peak(2.0, 1.0)
    with pytest.raises(ValueError, match=r"execution\.peak_tflops: must not be negative"):
        ExecutionConfig(peak_tflops=-1.0)


def test_a_gpu_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert peak_of(ExecutionConfig(), torch.device("cuda")) == Peak(989, 790)
    assert peak_of(ExecutionConfig(peak_tflops=500.0), torch.device("cuda")) == Peak(500, 790)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card of next year")
    assert peak_of(ExecutionConfig(), torch.device("cuda")) == Peak(0, 0)


def test_a_running_run_tells_its_mean_speed_and_nothing_where_no_peak_is_known() -> None:
    run = LiveRun()
    run.begin(0, 0, {})
    step: dict[str, Any] = {"at": "2026-01-01T00:00:00Z", "epoch": 1.0, "losses": {"total": 1.0}, "loss_hex": "0x1p0"}
    step |= {"batch_sha256": "0" * 64, "learning_rate": 0.1, "ema_momentum": 0.9, "data_wait_seconds": 0.0}
    for number, seconds in ((1, 1.0), (2, 2.0)):
        speed = Speed(flops=4e12, ranks=1, peak=Peak(8)).of(seconds)
        line = step | speed | {"step": number, "seconds": seconds, "images_per_second": 1.0}
        run.fold(JournalLine(type="step", at=step["at"], data=line))
    assert run.now.tflops_per_second == pytest.approx(3)
    assert run.now.mfu == pytest.approx(0.375)
    assert run.now.mfu_achievable is None
