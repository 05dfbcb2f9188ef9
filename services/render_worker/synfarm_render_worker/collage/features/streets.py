"""What is built outdoors: houses, a road's markings, a fence, a barn."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_render_worker.collage.features.canvas import Canvas, Feature

__all__ = ["STREETS"]


def _houses(c: Canvas) -> None:
    tone = c.draws.choice(
        "houses/tone", ((160, 110, 90), (120, 130, 150), (190, 170, 140), (90, 90, 110), (170, 150, 170))
    )
    x, i = -c.draws.unit("houses/start") * 0.1 * c.side, 0
    while x < c.side:
        width, tall = (
            c.draws.between(f"house/{n}", low, high, i) * c.side
            for n, low, high in (("w", 0.1, 0.24), ("h", 0.2, 0.62))
        )
        c.draw.rectangle((x, c.horizon - tall, x + width, c.horizon), fill=c.shade(tone, "house", i, 0.35))
        light = c.draws.choice("house/light", ((250, 230, 150), (200, 220, 235), (60, 66, 80)), i)
        for row in range(1, int(tall / (0.08 * c.side))):
            for column in range(1, int(width / (0.05 * c.side))):
                left, top = x + (column - 0.4) * 0.05 * c.side, c.horizon - tall + (row - 0.5) * 0.08 * c.side
                c.draw.rectangle((left, top, left + 0.02 * c.side, top + 0.035 * c.side), fill=light)
        x, i = x + width, i + 1  # fmt: skip


def _markings(c: Canvas) -> None:
    y = (c.horizon + c.side) / 2
    for i in range(5):
        left = (i / 4 - 0.1) * c.side
        c.draw.rectangle((left, y, left + 0.12 * c.side, y + 0.02 * c.side), fill=(230, 224, 190))


def _fence(c: Canvas) -> None:
    colour, step = c.draws.choice("fence/colour", ((240, 238, 230), (140, 100, 66), (110, 110, 110))), 0.09 * c.side
    top = c.horizon - 0.1 * c.side
    for height in (0.025, 0.07):
        c.draw.rectangle((0, top + height * c.side, c.side, top + (height + 0.015) * c.side), fill=colour)
    for i in range(int(c.side / step) + 1):
        c.draw.rectangle((i * step, top, i * step + 0.025 * c.side, c.horizon + 0.03 * c.side), fill=colour)


def _barn(c: Canvas) -> None:
    x, width = c.draws.between("barn/x", 0, 0.65) * c.side, c.draws.between("barn/w", 0.22, 0.36) * c.side
    wall = c.draws.choice("barn/wall", ((168, 50, 44), (140, 96, 70), (200, 190, 176)))
    top = c.horizon - width * 0.6
    c.draw.rectangle((x, top, x + width, c.horizon), fill=wall)
    c.draw.polygon([(x - 4, top), (x + width / 2, top - width * 0.4), (x + width + 4, top)], fill=(84, 72, 70))
    c.draw.rectangle((x + width * 0.35, c.horizon - width * 0.35, x + width * 0.65, c.horizon), fill=(240, 232, 220))


STREETS: Mapping[str, Feature] = {
    "barn": _barn,
    "fence": _fence,
    "houses": _houses,
    "markings": _markings,
}
"""By the names that ``places.PLACES`` uses."""
