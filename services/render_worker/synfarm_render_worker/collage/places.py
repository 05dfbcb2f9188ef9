"""What each background looks like: palettes, horizon and features, from which the painter picks anew for each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PLACES", "Place"]

Palette = tuple[tuple[int, int, int], tuple[int, int, int]]
"""RGB at the upper and at the lower edge of an area."""

_DAY: tuple[Palette, ...] = (
    ((92, 160, 232), (204, 230, 250)),
    ((150, 190, 214), (238, 240, 232)),
    ((176, 184, 192), (214, 216, 218)),
    ((120, 150, 220), (252, 214, 200)),
    ((66, 178, 200), (224, 246, 228)),
    ((250, 206, 140), (255, 240, 206)),
    ((196, 170, 222), (250, 222, 232)),
)
_DUSK: tuple[Palette, ...] = (
    ((70, 50, 120), (250, 140, 80)),
    ((190, 70, 90), (255, 200, 100)),
    ((40, 60, 110), (240, 120, 140)),
    ((230, 110, 50), (255, 226, 150)),
)
_NIGHT: tuple[Palette, ...] = (
    ((8, 10, 34), (34, 44, 96)),
    ((14, 6, 30), (70, 36, 96)),
    ((4, 16, 28), (18, 74, 92)),
    ((20, 20, 28), (60, 62, 76)),
)
_GRAY: tuple[Palette, ...] = (
    ((96, 106, 118), (160, 168, 174)),
    ((70, 80, 96), (128, 138, 150)),
    ((130, 130, 140), (190, 192, 190)),
)
_WALLS: tuple[Palette, ...] = (
    ((236, 226, 206), (224, 210, 186)),
    ((186, 206, 214), (168, 190, 200)),
    ((214, 180, 170), (198, 160, 150)),
    ((150, 172, 140), (134, 156, 126)),
    ((232, 214, 130), (220, 200, 112)),
    ((118, 120, 146), (100, 102, 128)),
    ((244, 244, 240), (226, 226, 224)),
    ((196, 170, 206), (178, 150, 190)),
)
_WHITES: tuple[Palette, ...] = (
    ((255, 255, 255), (244, 244, 244)),
    ((255, 255, 252), (250, 248, 242)),
    ((248, 250, 255), (238, 242, 248)),
)
_BLACKS: tuple[Palette, ...] = (
    ((14, 14, 16), (34, 34, 38)),
    ((26, 24, 24), (8, 8, 8)),
    ((10, 12, 20), (28, 30, 40)),
)
_WOODS: tuple[Palette, ...] = (
    ((176, 124, 74), (138, 90, 50)),
    ((120, 76, 44), (84, 52, 30)),
    ((216, 178, 126), (190, 148, 96)),
    ((150, 140, 128), (120, 110, 100)),
    ((230, 226, 218), (206, 200, 190)),
    ((92, 98, 110), (66, 72, 84)),
)
_GREENS: tuple[Palette, ...] = (
    ((124, 186, 74), (70, 136, 46)),
    ((164, 190, 84), (124, 150, 52)),
    ((84, 150, 90), (40, 100, 60)),
    ((196, 190, 100), (158, 140, 60)),
    ((110, 200, 130), (60, 150, 90)),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One background: ``far`` fills the image down to the horizon, ``near`` the rest."""

    far: tuple[Palette, ...]
    near: tuple[Palette, ...]
    horizon: tuple[float, float]
    """Lowest and highest place of the horizon, as a share of the height from above; above 1 there is no ground."""
    features: tuple[str, ...]
    """What may be drawn; each image takes some."""
    always: tuple[str, ...] = ()
    """What tells the place and is always drawn."""


PLACES: Mapping[str, Place] = {
    "beach": Place(
        _DAY + _DUSK[:2],
        (((240, 214, 160), (222, 188, 128)), ((250, 232, 200), (232, 204, 160)), ((206, 180, 140), (176, 146, 106))),
        (0.45, 0.7),
        ("sun", "clouds", "specks", "palms", "hills"),
        ("sea",),
    ),
    "forest": Place(_DAY[:4] + _GREENS[2:3], _GREENS[:4], (0.5, 0.75), ("specks", "tufts", "beams"), ("trees",)),
    "snow": Place(
        (*_DAY, *_GRAY[:1], *_NIGHT[:1]),
        (((244, 248, 252), (214, 226, 240)), ((226, 232, 246), (190, 204, 230)), ((252, 250, 246), (226, 222, 224))),
        (0.4, 0.7),
        ("hills", "firs", "clouds"),
        ("flakes",),
    ),
    "city street": Place(
        _DAY + _DUSK[:2] + _GRAY[:1],
        (((110, 110, 116), (80, 80, 86)), ((146, 140, 134), (112, 106, 100)), ((84, 88, 102), (56, 58, 70))),
        (0.6, 0.78),
        ("clouds", "sun", "markings", "specks"),
        ("houses",),
    ),
    "meadow": Place(_DAY, _GREENS, (0.35, 0.7), ("sun", "clouds", "hills", "blossoms", "specks"), ("tufts",)),
    "kitchen": Place(_WALLS, _WOODS, (0.62, 0.8), ("window", "shelf", "stripes"), ("tiles",)),
    "desert": Place(
        _DAY[1:2] + _DAY[5:6] + _DAY[:1] + _DUSK[1:2],
        (((236, 186, 110), (206, 144, 74)), ((222, 150, 96), (184, 106, 60)), ((246, 214, 150), (222, 180, 108))),
        (0.4, 0.65),
        ("sun", "specks", "clouds"),
        ("dunes",),
    ),
    "night": Place(
        _NIGHT,
        (((24, 40, 34), (10, 20, 18)), ((40, 36, 60), (18, 16, 32)), ((50, 50, 54), (24, 24, 28))),
        (0.65, 1.2),
        ("moon", "hills", "firs", "houses"),
        ("stars",),
    ),
    "underwater": Place(
        (((40, 160, 200), (8, 60, 130)), ((60, 190, 180), (10, 90, 110)), ((30, 110, 190), (14, 30, 90))),
        (((214, 196, 150), (160, 140, 100)), ((120, 140, 130), (70, 96, 96)), ((180, 150, 160), (120, 90, 110))),
        (0.75, 1.05),
        ("beams", "weeds", "specks"),
        ("bubbles",),
    ),
    "water": Place(
        _DAY + _DUSK,
        (((60, 140, 190), (24, 84, 140)), ((90, 176, 180), (40, 120, 130)), ((110, 130, 160), (66, 84, 116))),
        (0.3, 0.6),
        ("sun", "clouds", "hills"),
        ("waves",),
    ),
    "mountains": Place(_DAY + _DUSK[:1], _GREENS[1:] + _WOODS[3:4], (0.62, 0.8), ("sun", "clouds", "firs"), ("peaks",)),
    "living room": Place(_WALLS, _WOODS, (0.6, 0.8), ("window", "picture", "stripes", "shelf"), ("sofa", "rug")),
    "garden": Place(_DAY + _GREENS[2:3], _GREENS, (0.4, 0.65), ("clouds", "sun", "fence", "tufts"), ("blossoms",)),
    "sky": Place(_DAY, _DAY, (1.1, 1.2), ("sun", "specks"), ("clouds",)),
    "sunset": Place(
        _DUSK,
        (((90, 60, 90), (50, 30, 50)), ((120, 80, 50), (70, 40, 30)), ((60, 70, 110), (30, 34, 60))),
        (0.55, 0.8),
        ("hills", "clouds", "sea"),
        ("sun",),
    ),
    "rain": Place(
        _GRAY,
        (((110, 120, 116), (76, 86, 84)), ((92, 100, 116), (60, 66, 80)), ((120, 130, 100), (84, 92, 66))),
        (0.5, 0.8),
        ("hills", "clouds", "houses"),
        ("streaks",),
    ),
    "table": Place(_WALLS + _DAY[:2], _WOODS, (0.35, 0.6), ("window", "stripes", "picture"), ("planks",)),
    "farm": Place(
        _DAY,
        (*_GREENS, ((206, 176, 110), (160, 130, 70))),
        (0.45, 0.7),
        ("clouds", "sun", "tufts", "hills"),
        ("barn", "fence"),
    ),
    "white": Place(_WHITES, _WHITES, (1.1, 1.2), ("specks",)),
    "black": Place(_BLACKS, _BLACKS, (1.1, 1.2), ("specks",)),
    "studio": Place(_WALLS + _DAY + _GRAY + _WOODS, _WALLS, (1.1, 1.2), ("specks",), ()),
}
"""By the names of ``words.BACKGROUNDS``."""
