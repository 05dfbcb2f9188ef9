"""The trained backbone as others want it: safetensors that timm loads, and a JSON that says how."""

from __future__ import annotations

import json
from typing import Any

from torch import nn

from synfarm.contracts import layout
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.models.vit import MEAN, STD, timm_arguments
from synfarm_trainer.patience import patiently
from synfarm_trainer.state import tensors_of

__all__ = ["export_backbone"]


def export_backbone(
    store: ObjectStore, run: str, step: int, backbone: nn.Module, config: TrainConfig, *, network: str
) -> None:
    """``export/backbone.safetensors``, then ``export/backbone.json`` with the class, its arguments, the statistics.

    ``positions`` tells how the run resampled positions for crops of another size; timm's own way is ``resample``.

    Args:
        network: whose it is, ``teacher`` or ``student``.
    """
    described: dict[str, Any] = {
        "architecture": "timm.models.vision_transformer.VisionTransformer",
        "arguments": timm_arguments(config.model, config.augment.size),
        "positions": config.model.positions,
        "input": {"size": config.augment.size, "mean": MEAN, "std": STD},
        "network": network,
        "step": step,
    }
    patiently(store.put, layout.export_file(run, "backbone.safetensors"), tensors_of(backbone))
    data = json.dumps(described, indent=1).encode()
    patiently(store.put, layout.export_file(run, "backbone.json"), data, content_type="application/json")
