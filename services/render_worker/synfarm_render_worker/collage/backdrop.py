"""Paints the background of one image: the place that the caption names, or any, never twice with the same look."""

from __future__ import annotations

import colorsys

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from synfarm_render_worker.collage.draws import Draws
from synfarm_render_worker.collage.features import FEATURES, Canvas
from synfarm_render_worker.collage.places import PLACES, Palette

__all__ = ["choose_background", "paint"]

_ABSTRACT = 0.3
"""Share of abstract grounds where the caption names no place."""


def choose_background(named: str | None, draws: Draws) -> str:
    """The named place, or one of this image's own choice, so that no concept comes to own a background."""
    if named is not None:
        return named
    if draws.chance("background/abstract", _ABSTRACT):
        return "abstract"
    return draws.choice("background", sorted(PLACES))


def paint(background: str, draws: Draws, side: int) -> Image.Image:
    """RGB of ``side`` x ``side`` pixels."""
    if background == "abstract":
        return _abstract(draws, side)
    place = PLACES[background]
    share = draws.between("horizon", *place.horizon)
    far = _vary(draws.choice("far", place.far), draws, "far")
    near = _vary(draws.choice("near", place.near), draws, "near")
    big = 2 * side  # drawn twice as large and reduced: Pillow's shapes have hard edges
    horizon = round(share * big)
    edge = min(horizon, big)
    column = np.concatenate([_gradient(far, edge), _gradient(near, big - edge)])
    image = Image.fromarray(column.clip(0, 255).astype(np.uint8)[:, None]).resize((big, big), Image.Resampling.NEAREST)
    middle = (_middle(near), _middle(far))
    canvas = Canvas(ImageDraw.Draw(image), big, min(share, 1.0) * big, draws, *middle)
    some = draws.several("features", place.features, draws.whole("features/count", 0, min(3, len(place.features))))
    for name in (*some, *place.always):
        FEATURES[name](canvas)
    pixels = np.asarray(image.reduce(2), dtype=np.float32) + _clouding(draws, side)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _abstract(draws: Draws, side: int) -> Image.Image:
    """Two colours of any hue, as a gradient at any angle, dots, bands, checks or blots."""
    colours = np.array(
        [
            colorsys.hsv_to_rgb(
                draws.unit("abstract/hue", i),
                draws.between("abstract/saturation", 0.05, 0.8, i),
                draws.between("abstract/value", 0.35, 1.0, i),
            )
            for i in range(2)
        ],
        dtype=np.float32,
    )
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    step = draws.between("abstract/step", 4, 12)
    slant = draws.between("abstract/slant", -1, 1)
    line = x * slant + y * (1 - abs(slant))
    pattern = draws.choice("abstract/pattern", ("gradient", "bands", "checks", "blots"))
    if pattern == "gradient":
        weight = (line - line.min()) / np.ptp(line)
    elif pattern == "bands":
        weight = (np.floor(line * step) % 2) * 0.6
    elif pattern == "checks":
        weight = ((np.floor(x * step) + np.floor(y * step)) % 2) * 0.5
    else:
        weight = (_field(draws, "abstract/blots", 6, side) > 0.5).astype(np.float32) * 0.7
    mixed = colours[0] + weight[..., None] * (colours[1] - colours[0])
    return Image.fromarray((mixed * 255 + _clouding(draws, side)).clip(0, 255).astype(np.uint8))


def _field(draws: Draws, name: str, cells: int, side: int) -> npt.NDArray[np.float32]:
    """Smooth noise in about [0, 1], side x side: a small keyed grid, enlarged."""
    grid = Image.fromarray(draws.noise(name, cells, cells))
    return np.asarray(grid.resize((side, side), Image.Resampling.BILINEAR))


def _clouding(draws: Draws, side: int) -> npt.NDArray[np.float32]:
    """Uneven light of side x side x 1, added to a ground so that it is nowhere flat."""
    strength = draws.between("clouding", 6, 34)
    return (_field(draws, "clouding/coarse", draws.whole("clouding/cells", 3, 16), side)[..., None] - 0.5) * strength


def _gradient(palette: Palette, rows: int) -> npt.NDArray[np.float32]:
    upper, lower = (np.array(colour, dtype=np.float32) for colour in palette)
    return upper + np.linspace(0, 1, max(rows, 1), dtype=np.float32)[:rows, None] * (lower - upper)


def _vary(palette: Palette, draws: Draws, name: str) -> Palette:
    """Another shade of the palette: hue, saturation and value move together, as another day would move them."""
    hue = draws.between(f"{name}/hue", -0.05, 0.05)
    saturation = draws.between(f"{name}/saturation", 0.55, 1.3)
    value = draws.between(f"{name}/value", 0.72, 1.12)
    upper, lower = (_shift(colour, hue, saturation, value) for colour in palette)
    return upper, lower


def _shift(colour: tuple[int, int, int], hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    h, s, v = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    red, green, blue = colorsys.hsv_to_rgb((h + hue) % 1.0, min(1.0, s * saturation), min(1.0, v * value))
    return round(red * 255), round(green * 255), round(blue * 255)


def _middle(palette: Palette) -> tuple[int, int, int]:
    (a, b, c), (d, e, f) = palette
    return (a + d) // 2, (b + e) // 2, (c + f) // 2
