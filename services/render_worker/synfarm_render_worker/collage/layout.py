"""Where the things of a scene stand and how large they are: size, count and relation become places."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from synfarm_render_worker.collage.draws import Draws
from synfarm_render_worker.collage.scene import Relation, Size

__all__ = ["Block", "Spot", "arrange"]

_SIDES: Mapping[Size | None, tuple[float, float]] = {
    "tiny": (0.2, 0.26),
    "small": (0.34, 0.42),
    None: (0.64, 0.84),
    "large": (0.86, 0.96),
    "huge": (1.0, 1.12),
}
"""Longer edge of a thing alone in the image, as a share of the image's side."""
_IN_COMPANY = 0.8
"""Of that, for each of two things."""
_ROOM = 1.04
"""What two things together may take up of the image's side: a little may be cut off."""


@dataclass(frozen=True, slots=True)
class Block:
    """A thing as the layout sees it."""

    size: Size | None
    count: int
    width: float = 1.0
    height: float = 1.0
    """Of its artwork, the longer of both being 1."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One copy of a thing: centre and longer edge as shares of the image's side."""

    role: str
    index: int
    x: float
    y: float
    size: float


@dataclass(frozen=True, slots=True)
class _Pair:
    """Where the subject stands, seen from the second thing."""

    across: float
    """In halves of both widths together: 1 touches it from the right."""
    down: float
    """In halves of both heights together: -1 stands on top of it."""
    over: bool
    """Whether the subject is drawn over the second thing."""
    mine: float = 0.85
    """Scale of the subject."""
    other: float = 1.0
    """Scale of the second thing."""
    either_side: bool = True
    """Whether the image may be mirrored."""


_PAIRS: Mapping[Relation, _Pair] = {
    "in": _Pair(0.0, 0.1, True, 0.55, 1.2),
    "on": _Pair(0.1, -0.9, True, 0.75, 0.95),
    "under": _Pair(0.1, 0.92, True, 0.7, 0.95),
    "above": _Pair(0.1, -1.35, True, 0.7, 0.85),
    "beside": _Pair(0.88, 0.0, True),
    "left of": _Pair(-1.0, 0.0, True, either_side=False),
    "right of": _Pair(1.0, 0.0, True, either_side=False),
    "behind": _Pair(0.3, -0.38, False, 1.05),
    "in front of": _Pair(0.3, 0.38, True, 0.9, 1.05),
    "far from": _Pair(1.9, 1.4, True, 0.75, 0.32),
    "wearing": _Pair(0.12, 0.8, False, 0.95, 0.5),
    "holding": _Pair(0.45, -0.15, False, 1.05, 0.5),
}


def arrange(
    subject: Block, second: Block | None, relation: Relation | None, draws: Draws, third: Block | None = None
) -> list[Spot]:
    """All copies of the things, in the order in which they are painted."""
    side = draws.between("subject/size", *_SIDES[subject.size])
    if second is None:
        room = max(0.0, 0.5 - side / 2)
        x, y = (0.5 + draws.between(f"subject/{axis}", -room, room) * 0.9 for axis in "xy")
        return _copies("subject", subject, x, y, side, draws)
    other = draws.between("second/size", *_SIDES[second.size]) * _IN_COMPANY
    blocks = {"subject": subject, "second": second} | ({"third": third} if third is not None else {})
    if relation == "between":
        spots = _between(blocks, side * _IN_COMPANY, other, draws)
    elif relation == "among":
        middle = _copies("subject", subject, 0, 0, side * _IN_COMPANY * 0.85, draws)
        ring = _ring("second", max(second.count, 3), other * 0.5, draws)
        # What lies lower is nearer: it covers the subject, and the subject covers the rest.
        spots = [*(s for s in ring if s.y <= 0.1), *middle, *(s for s in ring if s.y > 0.1)]
    elif relation == "around":
        middle = _copies("second", second, 0, 0, other * 0.75, draws)
        spots = [*middle, *_ring("subject", subject.count, side * (0.5 if subject.count == 1 else 0.42), draws)]
    else:
        spots = _pair(blocks, relation, side * _IN_COMPANY, other, draws)
    return _framed(spots, blocks, draws)


def _pair(
    blocks: Mapping[str, Block], relation: Relation | None, side: float, other: float, draws: Draws
) -> list[Spot]:
    pair = _PAIRS[relation or "beside"]
    down = draws.between("pair/down", -0.3, 0.3) if relation is None else pair.down
    hand = 1 if not pair.either_side or draws.chance("pair/hand", 0.5) else -1
    mine = _copies("subject", blocks["subject"], 0, 0, side * pair.mine, draws)
    theirs = _copies("second", blocks["second"], 0, 0, other * pair.other, draws)
    (left, top, right, bottom), (left_, top_, right_, bottom_) = _box(mine, blocks), _box(theirs, blocks)
    x = pair.across * hand * draws.between("pair/gap", 0.92, 1.08) * (right - left + right_ - left_) / 2
    y = down * (bottom - top + bottom_ - top_) / 2
    x += (left_ + right_ - left - right) / 2
    y += (top_ + bottom_ - top - bottom) / 2
    mine = [replace(spot, x=spot.x + x, y=spot.y + y) for spot in mine]
    return [*theirs, *mine] if pair.over else [*mine, *theirs]


def _box(spots: Sequence[Spot], blocks: Mapping[str, Block]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what the spots cover."""
    halves = [
        (spot, spot.size * blocks[spot.role].width / 2, spot.size * blocks[spot.role].height / 2) for spot in spots
    ]
    return (
        min(spot.x - half for spot, half, _ in halves),
        min(spot.y - half for spot, _, half in halves),
        max(spot.x + half for spot, half, _ in halves),
        max(spot.y + half for spot, _, half in halves),
    )


def _framed(spots: list[Spot], blocks: Mapping[str, Block], draws: Draws) -> list[Spot]:
    """The spots moved into the image, and made smaller together where they take up more than there is."""
    left, top, right, bottom = _box(spots, blocks)
    scale = min(1.0, _ROOM / max(right - left, bottom - top))
    room = (max(0.05, 1 - (right - left) * scale) / 2, max(0.05, 1 - (bottom - top) * scale) / 2)
    x, y = (0.5 + draws.between(f"pair/{axis}", -0.8, 0.8) * free for axis, free in zip("xy", room, strict=True))
    across, down = (left + right) / 2, (top + bottom) / 2
    return [
        replace(spot, x=x + (spot.x - across) * scale, y=y + (spot.y - down) * scale, size=spot.size * scale)
        for spot in spots
    ]


def _between(blocks: Mapping[str, Block], side: float, other: float, draws: Draws) -> list[Spot]:
    """The subject in the middle, and copies of the other one or two things on both sides of it."""
    hand = 1 if draws.chance("pair/hand", 0.5) else -1
    flanks = [role for role in ("second", "third") if role in blocks]
    spots: list[Spot] = []
    for place, role in enumerate(flanks):
        count = max(blocks[role].count, 3 - len(flanks))
        for i in range(count):
            # One kind stands on both sides in turn; two kinds each on a side of their own.
            turn, rank = (i % 2, i // 2) if len(flanks) == 1 else (place, i)
            at = hand * (2 * turn - 1) * 0.42
            down = draws.between(f"{role}/flank", -0.05, 0.05, i) + 0.18 * rank
            spots.append(Spot(role, i, at, down, other * 0.72))
    return [*spots, *_copies("subject", blocks["subject"], 0, 0.05, side * 0.7, draws)]


def _ring(role: str, count: int, each: float, draws: Draws) -> list[Spot]:
    """``count`` copies on a circle around a place."""
    turn = draws.unit(f"{role}/turn")
    spots = []
    for i in range(count):
        angle = 2 * math.pi * ((i + draws.between(f"{role}/ring", -0.15, 0.15, i)) / count + turn)
        spots.append(Spot(role, i, 0.38 * math.cos(angle), 0.36 * math.sin(angle), each))
    return spots


def _copies(role: str, block: Block, x: float, y: float, side: float, draws: Draws) -> list[Spot]:
    """Copies around a place, in rows, each a little off."""
    if block.count == 1:
        return [Spot(role, 0, x, y, side)]
    columns = math.ceil(math.sqrt(block.count))
    rows = math.ceil(block.count / columns)
    if draws.chance(f"{role}/upright", 0.5):
        columns, rows = rows, columns
    # Apart enough to be counted, also where they are turned or stretched, and all of them inside the image.
    pitch = min(side * 1.12, 0.98) / max(columns, rows)
    each = pitch * 0.88
    spots = []
    for i in range(block.count):
        row, column = divmod(i, columns)
        jitter = [draws.between(f"{role}/jitter-{axis}", -0.06, 0.06, i) * each for axis in "xy"]
        spot = Spot(role, i, x + (column - (columns - 1) / 2) * pitch, y + (row - (rows - 1) / 2) * pitch, each)
        size = each * draws.between(f"{role}/each", 0.86, 1.04, i)
        spots.append(replace(spot, x=spot.x + jitter[0], y=spot.y + jitter[1], size=size))
    return spots
