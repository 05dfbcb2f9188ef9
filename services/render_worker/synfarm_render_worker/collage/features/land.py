"""What grows and lies on the ground, and what water does: hills, trees, grass, flowers, waves."""

from __future__ import annotations

import math
from collections.abc import Mapping

from synfarm_render_worker.collage.features.canvas import Canvas, Feature, Rgb, disc, scatter, strokes

__all__ = ["LAND"]


def _blossoms(c: Canvas) -> None:
    colours = ((236, 64, 90), (250, 210, 60), (250, 250, 245), (180, 100, 220), (250, 140, 60), (250, 150, 200))
    kinds = c.draws.several("blossoms/kinds", colours, 2)
    for i in range(c.draws.whole("blossoms", 18, 45)):
        depth = c.draws.unit("blossom/y", i)
        y = c.horizon + (c.side - c.horizon) * depth
        disc(c, c.x("blossom/x", i), y, c.side * (0.008 + 0.02 * depth), kinds[i % 2])


def _ridge(name: str, height: tuple[float, float], steps: int, smooth: bool, tone: Rgb | None) -> Feature:
    """A skyline of hills (smooth) or peaks in front of the sky, one or two of them."""

    def draw(c: Canvas) -> None:
        for layer in range(c.draws.whole(name, 1, 2)):
            tops = [c.draws.between(f"{name}/h", *height, 32 * layer + i) for i in range(steps + 2)]
            colour = c.shade(tone or c.ground, name, layer, 0.3)
            points: list[tuple[float, float]] = []
            for i in range(4 * steps + 1):
                place, part = divmod(i / 4, 1)
                weight = (1 - math.cos(math.pi * part)) / 2 if smooth else part
                top = tops[int(place)] * (1 - weight) + tops[int(place) + 1] * weight
                points.append((i / (4 * steps) * c.side, c.horizon - top * c.side * (1 - 0.35 * layer)))
            c.draw.polygon([*points, (c.side, c.horizon + 1), (0, c.horizon + 1)], fill=colour)

    return draw


def _sea(c: Canvas) -> None:
    colour = c.shade((60, 150, 196), "sea")
    top = c.horizon - c.draws.between("sea/depth", 0.08, 0.2) * c.side
    c.draw.rectangle((0, top, c.side, c.horizon), fill=colour)
    c.draw.line((0, c.horizon, c.side, c.horizon), fill=(240, 246, 250), width=max(1, c.side // 64))


def _waves(c: Canvas) -> None:
    for i in range(c.draws.whole("waves", 8, 20)):
        depth = c.draws.unit("wave/y", i)
        x, y = c.x("wave/x", i), c.horizon + (c.side - c.horizon) * depth
        width, tall = c.side * (0.06 + 0.16 * depth), c.side * (0.01 + 0.03 * depth)
        colour = c.shade((190, 220, 236), "wave", i, 0.15)
        c.draw.arc((x - width, y - tall, x + width, y + tall), 190, 350, fill=colour, width=max(1, c.side // 90))


def _trunks(name: str, pointed: bool, count: tuple[int, int]) -> Feature:
    """Trees far away: firs, or round crowns."""

    def draw(c: Canvas) -> None:
        tone = c.draws.choice(
            f"{name}/tone", ((40, 104, 56), (84, 130, 50), (30, 80, 76), (170, 110, 40), (60, 90, 40))
        )
        for i in range(c.draws.whole(name, *count)):
            x, tall = c.x(f"{name}/x", i), c.draws.between(f"{name}/h", 0.2, 0.55, i) * c.side
            foot = c.horizon + c.draws.between(f"{name}/foot", 0, 0.06, i) * c.side
            colour, half = c.shade(tone, name, i), tall * c.draws.between(f"{name}/w", 0.16, 0.3, i)
            c.draw.rectangle((x - tall / 24, foot - tall / 2, x + tall / 24, foot), fill=(92, 66, 44))
            if pointed:
                c.draw.polygon(
                    [(x - half, foot - tall * 0.15), (x, foot - tall), (x + half, foot - tall * 0.15)], fill=colour
                )
            else:
                c.draw.ellipse((x - half, foot - tall, x + half, foot - tall * 0.3), fill=colour)

    return draw  # fmt: skip


def _palms(c: Canvas) -> None:
    x, foot = c.draws.choice("palm/x", (0.08, 0.92)) * c.side, c.horizon + 0.1 * c.side
    top = foot - 0.4 * c.side
    c.draw.line((x, foot, x + 0.03 * c.side, top), fill=(120, 84, 52), width=max(2, c.side // 40))
    for i in range(6):
        angle = i / 6 * 2 * math.pi + c.draws.unit("palm/turn")
        end = (x + 0.03 * c.side + math.cos(angle) * 0.16 * c.side, top + math.sin(angle) * 0.09 * c.side)
        c.draw.line((x + 0.03 * c.side, top, *end), fill=(50, 130, 60), width=max(2, c.side // 36))


def _weeds(c: Canvas) -> None:
    for i in range(c.draws.whole("weeds", 4, 9)):
        x, tall = c.x("weed/x", i), c.draws.between("weed/h", 0.15, 0.45, i) * c.side
        sway = c.draws.between("weed/sway", 0.01, 0.03, i) * c.side
        points = [(x + sway * math.sin(j), c.side - tall * j / 8) for j in range(9)]
        colour = c.shade((40, 130, 80), "weed", i, 0.4)
        c.draw.line(points, fill=colour, width=max(2, c.side // 40))


LAND: Mapping[str, Feature] = {
    "blossoms": _blossoms,
    "dunes": _ridge("dunes", (0.03, 0.2), 3, True, None),
    "firs": _trunks("firs", True, (3, 8)),
    "hills": _ridge("hills", (0.05, 0.22), 4, True, (110, 140, 110)),
    "palms": _palms,
    "peaks": _ridge("peaks", (0.1, 0.5), 6, False, (120, 124, 140)),
    "sea": _sea,
    "specks": scatter("specks", (0.004, 0.012), (10, 40), None, -1.0),
    "trees": _trunks("trees", False, (5, 11)),
    "tufts": strokes("tufts", (40, 90), (0.03, 0.09), 0.4, None),
    "waves": _waves,
    "weeds": _weeds,
}
"""By the names that ``places.PLACES`` uses."""
