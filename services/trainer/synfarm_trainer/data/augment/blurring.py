"""Blur of a batch, each crop by its own sigma: a Gaussian of 9 taps, or Pillow's three box blurs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from synfarm_trainer.data.augment.resampling import to_bytes, to_bytes_up

__all__ = ["blur", "box_taps", "gaussian_taps"]

_GAUSSIAN_REACH, _BOX_REACH, _BOX_PASSES = 4, 2, 3

Floats = NDArray[np.float64]


def gaussian_taps(sigma: Floats) -> Floats:
    """(n, 9) of (n,); sigma 0 keeps pixels as they are."""
    offsets = np.arange(-_GAUSSIAN_REACH, _GAUSSIAN_REACH + 1)
    kept = np.maximum(sigma, 1e-3)[:, None]
    bells = np.exp(-0.5 * (offsets / kept) ** 2)
    taps: Floats = bells / bells.sum(axis=-1, keepdims=True)
    return taps


def box_taps(sigma: Floats) -> Floats:
    """(n, 5) of (n,): one of Pillow's three boxes for a Gaussian, with its fraction of a pixel at both ends.

    The box's width follows from the variance that the passes must add up to (Gwosdek et al., 2011).

    Raises:
        ValueError: sigma is above 2, which needs a wider box.
    """
    if sigma.max(initial=0.0) > 2:
        raise ValueError(f"sigma is at most 2, got {sigma.max()}")
    variance = sigma**2 / _BOX_PASSES
    whole = np.floor((np.sqrt(12 * variance + 1) - 1) / 2)
    rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    # Pillow counts in 2**-24.
    inner = np.floor(2**24 / (2 * (whole + rest) + 1))
    outer = np.floor((2**24 - (2 * whole + 1) * inner) / 2)
    distance = np.abs(np.arange(-_BOX_REACH, _BOX_REACH + 1))
    taps = np.where(distance <= whole[:, None], inner[:, None], 0)
    taps = np.where(distance == whole[:, None] + 1, outer[:, None], taps)
    found: Floats = taps / 2**24
    return found


def _padded(x: Tensor, reach: int, dim: int, *, reflect: bool) -> Tensor:
    """``x`` (n, 3, H, W) with ``reach`` more pixels at both ends of an axis, which mirror the picture or go on."""
    if not reflect:
        return pad(x, (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach), mode="replicate")
    while reach:
        # A mirror shows all but the pixel at its edge: a picture smaller than the kernel is mirrored again.
        step = min(reach, x.shape[dim] - 1)
        x = pad(x, (step, step, 0, 0) if dim == 3 else (0, 0, step, step), mode="reflect")
        reach -= step
    return x


def _smooth(x: Tensor, taps: Tensor, dim: int, *, reflect: bool) -> Tensor:
    """``x`` (n, 3, H, W) with each crop's taps (n, k) along one axis."""
    weights = [tap.view(-1, 1, 1, 1) for tap in taps.unbind(1)]
    padded = _padded(x, len(weights) // 2, dim, reflect=reflect)
    total = weights[0] * padded.narrow(dim, 0, x.shape[dim])
    for shift, weight in enumerate(weights[1:], start=1):
        total = torch.addcmul(total, padded.narrow(dim, shift, x.shape[dim]), weight)
    return total


def blur(x: Tensor, taps: Tensor, *, pillow: bool) -> Tensor:
    """``x`` (n, 3, H, W), 0 to 255, blurred by taps (n, k) of :func:`box_taps` (``pillow``) or :func:`gaussian_taps`.

    Pillow works on bytes and rounds after each of its three passes; the Gaussian does not round.
    """
    if not pillow:
        return _smooth(_smooth(x, taps, 2, reflect=True), taps, 3, reflect=True)
    x = to_bytes(x)
    for dim in (3, 2):
        for _ in range(_BOX_PASSES):
            x = to_bytes_up(_smooth(x, taps, dim, reflect=False))
    return x
