"""Patches chosen by their places, which the host knows: by masks, a GPU would be waited for to say how many there are.

``x[mask]`` on a GPU ends in ``cudaStreamSynchronize`` (PyTorch's documentation of ``torch.nonzero``: "this function
causes host-device synchronization"); ``index_select`` takes the same rows, and its gradient the same values, without.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["chosen_patches", "images_of", "places_of"]


def places_of(masks: Tensor, device: torch.device) -> Tensor:
    """(t,) on ``device``: where (n, patches) bool is true, ``image * patches + patch``, rising.

    Args:
        masks: as the host has them.
    """
    places = masks.cpu().flatten().nonzero().squeeze(1)
    # A copy from memory that is not pinned may wait for the stream.
    return places.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else places.to(device)


def chosen_patches(tokens: Tensor, places: Tensor) -> Tensor:
    """(n, 1 + patches, width) to (t, width), image by image: the patches behind each class token at :func:`places_of`.

    As ``tokens[:, 1:][masks]``, without a copy of what is not chosen.
    """
    return tokens.flatten(0, 1).index_select(0, places + images_of(places, tokens.shape[1] - 1) + 1)


def images_of(places: Tensor, patches: int) -> Tensor:
    """(t,) image of each place."""
    return places.div(patches, rounding_mode="floor")
