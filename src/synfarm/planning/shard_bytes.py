"""About how many bytes a job's shards will take, told before it is made."""

from __future__ import annotations

import math
from bisect import bisect_left

from synfarm.contracts.jobs import JobSpec, RenderSettings

__all__ = ["estimated_bytes", "group_bytes", "image_bytes"]

_BITS = {
    "jpg": ((1, 0.5), (50, 0.85), (75, 1.2), (90, 2.1), (95, 3.2), (100, 8.5)),
    "webp": ((1, 0.2), (50, 0.36), (75, 0.5), (90, 1.2), (95, 1.9), (100, 2.8)),
}
"""Bits a pixel by quality, measured on collages of 256 pixels."""
_FADING = 0.45
"""Larger images hold less news a pixel: bits fall with this power of the side (measured from 64 to 512 pixels)."""
_TAR = 768
"""Header and padding of a member of a tar."""
_PROVENANCE = {"collage": 3500, "diffusers": 1000}
"""The JSON of a group; a collage's holds its scenes."""


def estimated_bytes(spec: JobSpec) -> int:
    """Bytes of all shards if no slot stays empty; for collages within a factor of two, for photographs a guess."""
    return round(spec.captions * group_bytes(spec.render, spec.images_per_caption))


def group_bytes(render: RenderSettings, images_per_caption: int) -> float:
    """Of one caption group in its tar: the images and the JSON, with headers and padding."""
    return images_per_caption * (image_bytes(render) + _TAR) + _PROVENANCE[render.renderer] + _TAR


def image_bytes(render: RenderSettings) -> float:
    """Of one image as it is stored."""
    known = _BITS[render.image_format]
    place = max(1, bisect_left([quality for quality, _ in known], render.quality))
    (low, below), (high, above) = known[place - 1], known[place]
    bits = below + (above - below) * (render.quality - low) / (high - low)
    fading = math.pow(256 / render.size, _FADING)
    return bits * fading * render.size**2 / 8
