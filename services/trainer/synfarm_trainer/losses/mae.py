"""MAE's loss: the normalised pixels of masked patches (He et al. 2022, section 3 and table 1d)."""

from __future__ import annotations

from torch import Tensor

from synfarm_trainer.losses.precision import precise

__all__ = ["masked_pixel_loss", "patch_pixels"]

_EPS = 1e-6


def patch_pixels(images: Tensor, patch: int) -> Tensor:
    """(n, C, H, W) to (n, H / patch * W / patch, patch * patch * C): patches by rows, channels last in each."""
    n, channels, height, width = images.shape
    rows, columns = height // patch, width // patch
    cut = images.reshape(n, channels, rows, patch, columns, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(n, rows * columns, patch * patch * channels)


def masked_pixel_loss(predicted: Tensor, pixels: Tensor, *, normalised: bool = True) -> Tensor:
    """L = mean over the patch of (predicted - target)^2, a masked patch at a time, in at least float32.

    The caller takes the mean over the masked patches of the global batch.

    Args:
        predicted: (T, P) of the decoder at the masked positions.
        pixels: (T, P) of the images there; take no gradient.
        normalised: the target is (pixels - mean) / sqrt(variance + 1e-6) of each patch, the variance with P - 1.

    Returns:
        (T,) losses.
    """
    target = precise(pixels.detach())
    if normalised:
        variance = target.var(dim=1, keepdim=True)
        target = (target - target.mean(dim=1, keepdim=True)) / (variance + _EPS).sqrt()
    return ((precise(predicted) - target) ** 2).mean(dim=1)
