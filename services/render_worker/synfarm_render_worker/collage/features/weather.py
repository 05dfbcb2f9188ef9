"""What is in the air: sun, moon, stars, clouds, rain, snow, light under water."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_render_worker.collage.features.canvas import Canvas, Feature, clip, disc, scatter, strokes

__all__ = ["WEATHER"]


def _sun(c: Canvas) -> None:
    y = c.draws.between("sun/y", 0.05, max(0.1, min(0.9, c.horizon / c.side)))
    colour = c.draws.choice("sun/colour", ((255, 236, 150), (255, 250, 230), (255, 190, 90), (255, 140, 100)))
    disc(c, c.x("sun/x", 0), y * c.side, c.draws.between("sun/r", 0.05, 0.13) * c.side, colour)


def _moon(c: Canvas) -> None:
    x, radius = c.x("moon/x", 0), c.draws.between("moon/r", 0.04, 0.1) * c.side
    y = c.draws.between("moon/y", 0.05, 0.4) * c.side
    disc(c, x, y, radius, (240, 236, 210))
    if c.draws.chance("moon/crescent", 0.5):
        disc(c, x + radius * 0.5, y - radius * 0.2, radius * 0.9, c.sky)


def _clouds(c: Canvas) -> None:
    for i in range(c.draws.whole("clouds", 2, 5)):
        x, y = c.x("cloud/x", i), c.draws.between("cloud/y", 0.02, 0.5, i) * min(c.horizon, c.side)
        width = c.draws.between("cloud/w", 0.05, 0.1, i) * c.side
        colour = c.shade((232, 236, 240), "cloud", i, 0.1)
        for j in range(4):
            lift = c.draws.between("cloud/lift", -0.3, 0.3, 4 * i + j)
            disc(c, x + (j - 1.5) * width * 0.8, y + lift * width, width * (0.9 - 0.25 * abs(j - 1.5)), colour)


def _stars(c: Canvas) -> None:
    for i in range(c.draws.whole("stars", 15, 60)):
        y = c.draws.unit("star/y", i) * min(c.horizon, c.side)
        disc(c, c.x("star/x", i), y, c.side * c.draws.between("star/r", 0.003, 0.009, i), (250, 248, 220))


def _beams(c: Canvas) -> None:
    for i in range(c.draws.whole("beams", 2, 4)):
        x, lean = c.x("beam/x", i), c.draws.between("beam/lean", -0.4, 0.4) * c.side
        width = c.draws.between("beam/w", 0.03, 0.08, i) * c.side
        light = clip(tuple(v + 26 for v in c.sky))
        c.draw.polygon([(x, 0), (x + width, 0), (x + lean + 2 * width, c.side), (x + lean, c.side)], fill=light)


WEATHER: Mapping[str, Feature] = {
    "beams": _beams,
    "bubbles": scatter("bubbles", (0.008, 0.03), (10, 30), (180, 224, 240), 0.0),
    "clouds": _clouds,
    "flakes": scatter("flakes", (0.005, 0.014), (30, 80), (250, 252, 255), 0.0),
    "moon": _moon,
    "stars": _stars,
    "streaks": strokes("streaks", (40, 90), (0.05, 0.12), 0.5, (200, 210, 220)),
    "sun": _sun,
}
"""By the names that ``places.PLACES`` uses."""
