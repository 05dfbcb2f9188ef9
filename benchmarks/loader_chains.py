"""SynCLR's augmentation in torchvision's words, twice: on Pillow images as the release has it, and on byte tensors.

One global crop of 224 pixels, of variant A or B by a fair coin, and four local ones of 96. The first ends in normalised
floats; the second in bytes, the form that is cheapest to make and to hand from process to process.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.io import decode_jpeg
from torchvision.transforms import InterpolationMode, v2

__all__ = ["pillow_chain", "tensor_chain"]

GLOBAL, LOCAL, LOCALS = 224, 96, 4
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Chain = Callable[[bytes], tuple[Tensor, Tensor]]


def _crop(kit: Any, size: int, scale: tuple[float, float], blur: float, solarize: float, end: list[Any]) -> Any:
    steps = [
        kit.RandomResizedCrop(size, scale=scale, interpolation=InterpolationMode.BICUBIC),
        kit.RandomHorizontalFlip(),
        kit.RandomApply([kit.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
        kit.RandomGrayscale(p=0.2),
        kit.RandomApply([kit.GaussianBlur(9, (0.1, 2.0))], p=blur),
    ]
    steps += [kit.RandomSolarize(threshold=128, p=solarize)] if solarize else []
    return kit.Compose(steps + end)


def _chain(kit: Any, decode: Callable[[bytes], Any], end: list[Any]) -> Chain:
    variants = (_crop(kit, GLOBAL, (0.32, 1.0), 1.0, 0.0, end), _crop(kit, GLOBAL, (0.32, 1.0), 0.1, 0.2, end))
    local = _crop(kit, LOCAL, (0.08, 0.32), 0.5, 0.0, end)

    def work(data: bytes) -> tuple[Tensor, Tensor]:
        image = decode(data)
        whole = variants[int(torch.randint(2, ()))](image)
        return whole, torch.stack([local(image) for _ in range(LOCALS)])

    return work


def _by_pillow(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _by_torchvision(data: bytes) -> Tensor:
    return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8))


def pillow_chain() -> Chain:
    """From a file to (3, 224, 224) and (4, 3, 96, 96) floats."""
    return _chain(transforms, _by_pillow, [transforms.ToTensor(), transforms.Normalize(_MEAN, _STD)])


def tensor_chain() -> Chain:
    """From a file to (3, 224, 224) and (4, 3, 96, 96) bytes."""
    return _chain(v2, _by_torchvision, [])
