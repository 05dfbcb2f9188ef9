"""The device form of the augmentation: a batch of tensors, on CPU or GPU, compilable.

What is drawn comes from the host as one small table (:func:`tabulate`); :func:`cut` is a pure function of tensors
without random numbers, shapes that depend on data, or loops over crops. It works in float32, under autocast too.

How near it comes to the reference form on the same parameters, in grey levels, on pictures with flats, edges, ramps and
checkerboards (the bounds are those of the tests):

- a family as a whole: mean below 0.25, 99.9 % of the values below 4 (found with 256-pixel pictures: mean below 0.01,
  99.99 %; were half of the crops to go through Downsample, 0.27 and 99.87 %);
- hue, gray, solarize: equal. Hue goes through the same 8 bits as Pillow's, with its roundings;
- brightness, contrast, saturation, both blurs: at most 1, in less than 0.1 % of the values;
- resizing and flip: at most 2. It rounds where Pillow does; what differs are halves, in less than 0.1 % of the values
  (found with 256-pixel pictures, checkerboards among them: 0.5 %);
- Downsample: at most 8, above 1 in less than 0.5 %: its two resizes and the crop's are one product here, without the
  bytes between them, and what overshoots is clamped elsewhere.

With TensorFloat-32 products, where a GPU is told to use them, 2.5 % of the values move by 1 (emulated on a CPU; no GPU
has run this yet).

On CPUs passes of few crops are the fastest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfarm_trainer.data.augment.blurring import blur, box_taps, gaussian_taps
from synfarm_trainer.data.augment.colours import blend, luma, shift_hue
from synfarm_trainer.data.augment.params import CropParams, Filters, small_size
from synfarm_trainer.data.augment.resampling import resample, resize_weights, to_bytes

__all__ = ["apply_crops", "cut", "tabulate"]

_HUE = 3
"""The hue's number among the four parts of the jitter."""


class _Table(NamedTuple):
    """The columns of :func:`tabulate`."""

    box: Tensor
    """(n, 4): left, upper, right, lower in pixels."""
    parts: Tensor
    """(n, 3): brightness, contrast and saturation in their order."""
    before: Tensor
    """(n, 3): their factors before the hue's turn; 1 for those that come after it."""
    after: Tensor
    """(n, 3)"""
    turn: Tensor
    """(n, 1): steps of the hue."""
    flags: Tensor
    """(n, 5): short side of Downsample or 0; flip, hue, gray, solarize."""
    taps: Tensor
    """(n, k): of the blur."""


_WIDTHS = (4, 3, 3, 3, 1, 5)
"""Columns of all but the taps."""


def tabulate(params: CropParams, height: int, width: int) -> NDArray[np.float32]:
    """(N, columns): all that :func:`cut` needs to know of each crop, for images of this size.

    The four parts of the jitter become three, hue, and the same three again with 1 in place of the factors that were
    used: the hue is costly and so is worked out once, whatever its place in the order.
    """
    count = len(params)
    order = params.order
    parts = order[order != _HUE].reshape(count, 3)
    factors = np.where(params.jitter[:, None], np.take_along_axis(params.factors, parts, axis=1), 1.0)
    early = np.arange(3) < np.argmax(order == _HUE, axis=1)[:, None]
    # As the reference form has it: float32 first, then whole steps; a shift of exactly 0 is none.
    shift = params.factors[:, _HUE].astype(np.float32).astype(np.float64)
    flags = (params.side, params.flip, params.jitter & (shift != 0), params.gray, params.solarize)
    columns = (
        params.boxes(slice(None), width, height),
        parts,
        np.where(early, factors, 1.0),
        np.where(early, 1.0, factors),
        np.rint(shift * 255)[:, None],
        np.stack(flags, axis=1),
        box_taps(params.sigma) if params.filters.pillow_blur else gaussian_taps(params.sigma),
    )
    return np.concatenate(columns, axis=1).astype(np.float32)


def _whole(size: int, length: int, like: Tensor) -> Tensor:
    """(size, length): a whole axis resized, bilinear."""
    zero, end = like.new_zeros(1), like.new_full((1,), float(length))
    return resize_weights(zero, end, zero > 0, size, length, bilinear=True)[0]


def _through_small(weights: Tensor, side: Tensor, sides: tuple[int, ...], along: int, other: int) -> Tensor:
    """Weights (n, size, along) of crops as they are from images that were made small and brought back."""
    found = weights
    for candidate in sides:
        small = small_size(candidate, along, other)[0]
        if small != along:
            there_and_back = _whole(along, small, weights) @ _whole(small, along, weights)
            found = torch.where((side == candidate).view(-1, 1, 1), weights @ there_and_back, found)
    return found


def cut(images: Tensor, table: Tensor, size: int, filters: Filters) -> Tensor:
    """Crops of ``images`` as their ``table`` tells, those of an image adjacent.

    Args:
        images: (m, H, W, 3) bytes.
        table: (m * each, columns) of :func:`tabulate`, on the images' device.
        size: side of the crops in pixels.
        filters: of the parameters; constants when compiled.

    Returns:
        (m * each, size, size, 3) bytes.
    """
    height, width = images.shape[1:3]
    told = _Table(*torch.split(table, [*_WIDTHS, table.shape[1] - sum(_WIDTHS)], dim=1))
    left, upper, right, lower = told.box.unbind(1)
    side, flip, hue, gray, solarize = told.flags.unbind(1)
    with torch.autocast(images.device.type, enabled=False):
        columns = resize_weights(left, right, flip > 0, size, width, bilinear=filters.bilinear)
        rows = resize_weights(upper, lower, torch.zeros_like(flip) > 0, size, height, bilinear=filters.bilinear)
        columns = _through_small(columns, side, filters.sides, width, height)
        rows = _through_small(rows, side, filters.sides, height, width)
        x = resample(images, columns, rows)
        if filters.jitter:
            for i in range(3):
                x = blend(x, told.parts[:, i], told.before[:, i])
            if filters.hue:
                x = torch.where(hue.view(-1, 1, 1, 1) > 0, shift_hue(x, told.turn), x)
            for i in range(3):
                x = blend(x, told.parts[:, i], told.after[:, i])
        x = torch.where(gray.view(-1, 1, 1, 1) > 0, luma(x), x)
        if filters.blur:
            x = blur(x, told.taps, pillow=filters.pillow_blur)
        x = to_bytes(x)
        x = torch.where((solarize.view(-1, 1, 1, 1) > 0) & (x >= 128), 255 - x, x)
    return x.permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def apply_crops(images: Tensor, params: CropParams, size: int) -> Tensor:
    """The crops of ``params`` from their images; :func:`tabulate`, one copy to the device, :func:`cut`.

    Args:
        images: (m, H, W, 3) bytes of one size, on any device.
        params: of m * each crops, those of an image adjacent, drawn with the configuration of the crops.
        size: side of the crops in pixels.

    Returns:
        (m * each, size, size, 3) bytes on the device of ``images``.

    Raises:
        ValueError: the images are not such, or the crops do not share out among them.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be (m, H, W, 3) bytes, got {tuple(images.shape)} of {images.dtype}")
    if not len(images) or len(params) % len(images):
        raise ValueError(f"{len(params)} crops cannot be shared out among {len(images)} images")
    height, width = images.shape[1:3]
    table = torch.from_numpy(tabulate(params, height, width)).to(images.device, non_blocking=True)
    return cut(images, table, size, params.filters)
