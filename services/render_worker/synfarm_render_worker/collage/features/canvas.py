"""What a background's features draw on, and the few strokes that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import ImageDraw

from synfarm_render_worker.collage.draws import Draws

__all__ = ["Canvas", "Feature", "Rgb", "clip", "disc", "scatter", "strokes"]

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where features draw: ``side`` pixels square, ground from ``horizon`` (pixels from above) downwards."""

    draw: ImageDraw.ImageDraw
    side: int
    horizon: float
    draws: Draws
    ground: Rgb
    sky: Rgb

    def x(self, name: str, index: int) -> float:
        return self.draws.between(name, -0.05, 1.05, index) * self.side

    def shade(self, colour: Rgb, name: str, index: int = 0, spread: float = 0.25) -> Rgb:
        """The colour, lighter or darker, with a little of another hue."""
        factor = self.draws.between(f"{name}/shade", 1 - spread, 1 + spread, index)
        return clip(tuple(c * factor + self.draws.between(f"{name}/{i}", -14, 14, index) for i, c in enumerate(colour)))


Feature = Callable[[Canvas], None]


def clip(colour: tuple[float, ...]) -> Rgb:
    red, green, blue = (max(0, min(255, round(c))) for c in colour)
    return red, green, blue


def disc(c: Canvas, x: float, y: float, radius: float, colour: Rgb) -> None:
    c.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def scatter(name: str, radius: tuple[float, float], count: tuple[int, int], colour: Rgb | None, top: float) -> Feature:
    """Small discs from ``top`` (share of the height; the horizon where negative) down to the lower edge."""

    def draw(c: Canvas) -> None:
        above = c.horizon if top < 0 else top * c.side
        for i in range(c.draws.whole(name, *count)):
            y = above + (c.side - above) * c.draws.unit(f"{name}/y", i)
            size = c.draws.between(f"{name}/r", *radius, i) * c.side
            disc(c, c.x(f"{name}/x", i), y, size, c.shade(colour or c.ground, name, i, 0.2))

    return draw


def strokes(name: str, count: tuple[int, int], length: tuple[float, float], lean: float, colour: Rgb | None) -> Feature:
    """Short lines: grass on the ground, or rain everywhere (where a colour is given)."""

    def draw(c: Canvas) -> None:
        slope = c.draws.between(f"{name}/lean", -lean, lean)
        for i in range(c.draws.whole(name, *count)):
            depth = c.draws.unit(f"{name}/y", i)
            y = depth * c.side if colour else c.horizon + (c.side - c.horizon) * depth
            x, tall = c.x(f"{name}/x", i), c.draws.between(f"{name}/l", *length, i) * c.side
            tone = colour or c.shade(c.ground, name, i, 0.35)
            c.draw.line((x, y, x + slope * tall, y - tall), fill=tone, width=max(1, c.side // 110))

    return draw
