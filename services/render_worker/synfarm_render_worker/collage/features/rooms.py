"""What a room holds: tiles, stripes, planks, a window, a picture, a shelf, a sofa, a rug."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_render_worker.collage.features.canvas import Canvas, Feature, clip

__all__ = ["ROOMS"]


def _tiles(c: Canvas) -> None:
    step = c.draws.choice("tiles/step", (0.08, 0.11, 0.15)) * c.side
    colour = c.shade(c.sky, "tiles", 0, 0.2)
    for i in range(int(c.side / step) + 1):
        c.draw.line((i * step, 0, i * step, c.horizon), fill=colour, width=max(1, c.side // 100))
        if i * step < c.horizon:
            c.draw.line((0, i * step, c.side, i * step), fill=colour, width=max(1, c.side // 100))


def _stripes(c: Canvas) -> None:
    step, colour = c.draws.between("stripes/step", 0.06, 0.16) * c.side, c.shade(c.sky, "stripes", 0, 0.15)
    for i in range(0, int(c.side / step) + 1, 2):
        c.draw.rectangle((i * step, 0, (i + 1) * step, c.horizon), fill=colour)


def _planks(c: Canvas) -> None:
    rows = c.draws.whole("planks", 2, 5)
    for i in range(1, rows + 1):
        y = c.horizon + (c.side - c.horizon) * (i / (rows + 1)) ** 1.3
        c.draw.line((0, y, c.side, y), fill=c.shade(c.ground, "plank", i, 0.3), width=max(1, c.side // 60))


def _window(c: Canvas) -> None:
    x, width = c.draws.between("window/x", 0, 0.65) * c.side, c.draws.between("window/w", 0.2, 0.36) * c.side
    y, tall = 0.06 * c.side, c.draws.between("window/h", 0.25, 0.42) * c.side
    view = c.draws.choice("window/view", ((170, 214, 244), (250, 220, 170), (40, 50, 90), (170, 206, 160)))
    frame = max(2, c.side // 40)
    c.draw.rectangle((x, y, x + width, y + tall), fill=view, outline=(246, 244, 238), width=frame)
    c.draw.line((x + width / 2, y, x + width / 2, y + tall), fill=(246, 244, 238), width=frame)


def _picture(c: Canvas) -> None:
    x, y = c.draws.between("picture/x", 0.05, 0.7) * c.side, c.draws.between("picture/y", 0.05, 0.25) * c.side
    width, tall = (c.draws.between(f"picture/{n}", 0.14, 0.26) * c.side for n in "wh")
    fill = c.shade((150, 140, 150), "picture", 0, 0.5)
    c.draw.rectangle((x, y, x + width, y + tall), fill=fill, outline=(90, 66, 44), width=max(2, c.side // 50))


def _shelf(c: Canvas) -> None:
    y = c.draws.between("shelf/y", 0.18, 0.4) * c.side
    for i in range(7):
        left = (0.5 + i * 0.06 + 0.02 * c.draws.unit("shelf/gap", i)) * c.side
        tall = c.draws.between("shelf/h", 0.05, 0.13, i) * c.side
        c.draw.rectangle((left, y - tall, left + 0.04 * c.side, y), fill=c.shade((160, 120, 130), "shelf", i, 0.5))
    c.draw.rectangle((0.45 * c.side, y, c.side, y + 0.025 * c.side), fill=(110, 80, 56))


def _sofa(c: Canvas) -> None:
    colour = c.draws.choice(
        "sofa/colour", ((150, 60, 60), (60, 90, 140), (90, 120, 90), (180, 150, 110), (110, 90, 130))
    )
    left, width = c.draws.between("sofa/x", -0.1, 0.3) * c.side, c.draws.between("sofa/w", 0.6, 0.95) * c.side
    tall, corner = 0.2 * c.side, 0.04 * c.side
    dark = clip(tuple(v * 0.8 for v in colour))
    c.draw.rounded_rectangle((left, c.horizon - tall, left + width, c.horizon + tall * 0.5), corner, fill=colour)
    c.draw.rounded_rectangle((left, c.horizon, left + width, c.horizon + tall * 0.6), corner, fill=dark)


def _rug(c: Canvas) -> None:
    centre, width = c.draws.between("rug/x", 0.3, 0.7) * c.side, c.draws.between("rug/w", 0.25, 0.5) * c.side
    y = (c.horizon + c.side) / 2 + 0.06 * c.side
    c.draw.ellipse((centre - width, y - 0.08 * c.side, centre + width, y + 0.08 * c.side),
                   fill=c.shade((170, 110, 110), "rug", 0, 0.5))  # fmt: skip


ROOMS: Mapping[str, Feature] = {
    "picture": _picture,
    "planks": _planks,
    "rug": _rug,
    "shelf": _shelf,
    "sofa": _sofa,
    "stripes": _stripes,
    "tiles": _tiles,
    "window": _window,
}
"""By the names that ``places.PLACES`` uses."""
