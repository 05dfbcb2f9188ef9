"""From the last latents to bytes: the VAE in slices, the check for NaN on the device, clamp and truncation."""

from __future__ import annotations

import torch

from synfarm_render_worker.diffusion.adapters.protocol import FamilyAdapter

__all__ = ["decode", "slice_of", "to_bytes"]

_SLICE_PIXELS = 4 * 512 * 512
"""Decoded at once: a VAE's activations are several hundred MB an image of 512 px, and a few images fill a GPU."""


def slice_of(size: int) -> int:
    """Images of ``size`` px that the VAE decodes at once."""
    return max(1, _SLICE_PIXELS // size**2)


def decode(adapter: FamilyAdapter, latents: torch.Tensor, size: int) -> torch.Tensor:
    """Images x 3 x height x width, float32, nominally in [-1, 1]."""
    vae, scaled = adapter.pipeline.vae, adapter.to_vae(latents, size)
    parts = [
        vae.decode(part.to(vae.dtype), return_dict=False)[0].float() for part in torch.split(scaled, slice_of(size))
    ]
    return torch.cat(parts)


def to_bytes(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(images x height x width x 3 in uint8, whether each image was finite), both still on the device.

    Clamped to [0, 1], times 255, truncated (method section 2). NaN has no byte, so it is looked for before.
    """
    finite = torch.isfinite(images).flatten(1).all(1)
    levels = (images * 0.5 + 0.5).clamp(0, 1) * 255
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous(), finite
