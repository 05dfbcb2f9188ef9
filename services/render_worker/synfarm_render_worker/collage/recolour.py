"""Gives artwork another colour while what is light stays light and what is dark stays dark."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["TINTS", "recolour"]

TINTS: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 34, 40),
    "orange": (246, 134, 24),
    "yellow": (250, 208, 30),
    "green": (52, 158, 60),
    "turquoise": (32, 184, 176),
    "blue": (38, 92, 214),
    "purple": (132, 58, 186),
    "pink": (248, 128, 178),
    "brown": (130, 80, 42),
    "black": (44, 44, 48),
    "white": (240, 240, 242),
    "gray": (140, 142, 148),
}
"""RGB that the middle tones take, for each colour of ``words.COLOURS``."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_KEPT = 0.2
"""Share that stays of what a pixel's hue differs from the artwork's own, so that parts can still be told apart."""


def recolour(image: Image.Image, colour: str) -> Image.Image:
    """The image with its middle tones moved to ``colour``; the order of luminances and the outline's alpha stay.

    A ramp runs from black through the colour, at the artwork's own median luminance, to white, and each pixel takes
    the ramp's value at its own luminance.
    """
    pixels = np.asarray(image, dtype=np.float32)
    luma = pixels[..., :3] @ _LUMA
    opaque = luma[pixels[..., 3] > 128]
    pivot = float(np.clip(np.median(opaque), 70, 190)) if opaque.size else 128.0
    tint: npt.NDArray[np.float32] = np.array(TINTS[colour], dtype=np.float32)
    if colour == "white":
        ramp = [np.interp(luma, [0, pivot * 0.6, pivot, 255], [20, 150, channel, 255]) for channel in tint]
    elif colour == "black":
        ramp = [np.interp(luma, [0, pivot, 255], [0, channel, 120]) for channel in tint]
    else:
        light = tint + (255 - tint) * 0.75
        ramp = [np.interp(luma, [0, pivot, 255], [0, c, top]) for c, top in zip(tint, light, strict=True)]
    coloured = np.stack(ramp, axis=-1).astype(np.float32)
    # Only differences stay: a share of the artwork's own hue would make a red car, painted white, pink.
    hue = pixels[..., :3] - luma[..., None]
    own = hue[pixels[..., 3] > 128].mean(axis=0) if opaque.size else np.zeros(3, dtype=np.float32)
    mixed = coloured + _KEPT * (hue - own)
    return Image.fromarray(np.dstack([mixed, pixels[..., 3]]).round().clip(0, 255).astype(np.uint8))
