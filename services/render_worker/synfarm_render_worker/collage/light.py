"""The light of a whole image: its tint, brightness, contrast, a darker side and a little grain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from synfarm_render_worker.collage.draws import Draws
from synfarm_render_worker.renderer import Pixels

__all__ = ["light"]


def light(image: Image.Image, draws: Draws) -> Pixels:
    """The lit image, as pixels. Mild enough that a red thing stays red."""
    pixels = np.asarray(image, dtype=np.float32)
    side = pixels.shape[0]
    warmth = draws.between("light/warmth", -0.1, 0.1)
    gain = draws.between("light/gain", 0.78, 1.16)
    tint = np.array([gain * (1 + warmth), gain, gain * (1 - warmth)], dtype=np.float32)
    contrast = draws.between("light/contrast", 0.82, 1.12)
    # A linear fall of light across the image, in a direction of its own.
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    fall = (
        draws.between("light/across", -0.15, 0.15) * ramp[None, :]
        + draws.between("light/down", -0.15, 0.15) * ramp[:, None]
    )
    lit = (pixels - 128) * contrast + 128
    lit = lit * tint * (1 + fall[..., None])
    lit += _grain(draws, side) * draws.between("light/grain", 2, 12)
    out: Pixels = lit.clip(0, 255).astype(np.uint8)
    return out


def _grain(draws: Draws, side: int) -> npt.NDArray[np.float32]:
    """Noise in [-0.5, 0.5), side x side x 1: a keyed tile of at most 64 pixels, repeated."""
    tile = draws.noise("light/grain", min(64, side), min(64, side)) - 0.5
    times = -(-side // tile.shape[0])
    return np.tile(tile, (times, times))[:side, :side, None]
