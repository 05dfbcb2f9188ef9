"""What all sides of `bench_step.py` share: configuration, device and its precision, one batch, hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from synfarm_trainer.config import SynclrConfig, TrainConfig
from synfarm_trainer.data.cells import draw_kept, draw_masks
from synfarm_trainer.data.cropids import CropIds
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.presets import resolve

__all__ = ["SHAPES", "Setting", "setting_of"]

_ALL_TERMS: dict[str, object] = {
    "data.cell_captions": 2,
    "local_crops.count": 4,
    "model.drop_path": 0.1,
    "objective.ibot_weight": 1.0,
}
SHAPES: Mapping[str, tuple[str, dict[str, object]]] = {
    "tiny": ("tiny", _ALL_TERMS),
    "small": ("small", {}),
    "narrow": (
        "vit-b16",
        {"model.width": 192, "model.depth": 6, "model.heads": 3, "objective.prototypes": 8192, "model.init_std": 0.06},
    ),
    "vit-s": ("vit-b16", {"model.width": 384, "model.heads": 6}),
    "vit-b": ("vit-b16", {}),
    "vit-l": (
        "vit-b16",
        {
            "model.patch": 14,
            "model.width": 1024,
            "model.depth": 24,
            "model.heads": 16,
            "model.drop_path": 0.4,
            "local_crops.size": 98,
        },
    ),
}
"""Preset and overrides. ``vit-*`` have the paper's crops, prototypes and heads; ``narrow`` its crops on a small ViT."""
LR = 1e-4


@dataclass(frozen=True)
class Setting:
    config: TrainConfig
    device: torch.device
    momentum: float = 0.994
    """Of the teacher."""

    @property
    def section(self) -> SynclrConfig:
        assert isinstance(self.config.objective, SynclrConfig)
        return self.config.objective

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def autocast(self) -> torch.autocast:
        """bfloat16 on GPUs, nothing on CPUs."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.on_gpu)

    def adamw(self, module: nn.Module) -> AdamW:
        """Fused on GPUs; biases and vectors are not decayed."""
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        plain = [p for name, p in named if p.ndim < 2 or name.endswith("bias")]
        decayed = [p for name, p in named if not (p.ndim < 2 or name.endswith("bias"))]
        groups = [{"params": decayed, "weight_decay": self.config.optim.weight_decay}, {"params": plain}]
        betas = self.config.optim.beta1, self.config.optim.beta2
        kind = {"fused": True} if self.on_gpu else {"foreach": True}
        return AdamW(groups, lr=LR, betas=betas, eps=self.config.optim.eps, weight_decay=0.0, **kind)

    def factors(self, kept: Tensor | None) -> Tensor | None:
        """(n, depth, 2): 0 for a dropped branch, else the inverse of the share that is kept, which all cells have."""
        return None if kept is None else kept / kept.float().mean(dim=0)

    def batch(self) -> TensorBatch:
        """Random pixels; masks and dropped branches drawn as the loader draws them."""
        config, generator = self.config, torch.Generator().manual_seed(0)
        captions, views, local = config.data.captions_per_batch, config.data.views, config.local_count
        images = captions * views
        index, k = np.arange(captions).repeat(views), np.tile(np.arange(views), captions)

        def ids(crops: list[int]) -> CropIds:
            return CropIds.of(np.ones(images, dtype=np.int64), index, k, crops)

        def pixels(count: int, size: int) -> Tensor:
            return torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)

        masks = draw_masks(config, 0, 0, ids([0]))
        kept = draw_kept(config, 0, 0, ids([0]), config.cell_images)
        crops = list(range(1, 1 + local))
        local_kept = draw_kept(config, 0, 0, ids(crops), config.cell_images * local)

        def sent(array: np.ndarray | None) -> Tensor | None:
            return None if array is None else torch.from_numpy(array).to(self.device)

        return TensorBatch(
            pixels=pixels(images, config.augment.size).to(self.device),
            labels=torch.arange(captions).repeat_interleave(views).to(self.device),
            local_pixels=pixels(images * local, config.local_crops.size).to(self.device),
            masks=sent(masks),
            host_masks=None if masks is None else torch.from_numpy(masks),
            kept=sent(kept),
            local_kept=sent(local_kept),
        )


def without_drops(batch: TensorBatch) -> TensorBatch:
    """The same batch with all branches, for sides that draw their own."""
    return replace(batch, kept=None, local_kept=None)


def setting_of(shape: str, captions: int, device: str, overrides: Mapping[str, object]) -> Setting:
    """
    Raises:
        ValueError: an override or the number of captions does not fit; the message names the field.
    """
    preset, changes = SHAPES[shape]
    batch = {"data.captions_per_batch": captions, "execution.micro_captions": 0, "optim.clip_norm": 3.0}
    return Setting(resolve(preset, {**changes, **batch, **overrides}), torch.device(device))
