"""Each word of the scene language is seen in the pixels, in the way that it means."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from synfarm.contracts.jobs import RenderSettings
from synfarm_render_worker.collage.recolour import TINTS
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.collage.words import BACKGROUNDS, COLOURS, RELATIONS
from synfarm_render_worker.renderer import ImageRequest

SIZE = 96
SEEDS = range(8)
Mask = npt.NDArray[np.bool_]


@pytest.fixture(scope="module")
def collage() -> CollageRenderer:
    return CollageRenderer(RenderSettings(size=SIZE))


def pixels(collage: CollageRenderer, caption: str, seed: int) -> npt.NDArray[np.int64]:
    return collage.render([ImageRequest(caption, seed)])[0].pixels.astype(np.int64)


def differs(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> Mask:
    return np.asarray(np.abs(one - other).max(axis=2) > 24)


@pytest.mark.parametrize("colour", sorted(COLOURS))
def test_a_colour_word_paints_the_subject_and_nothing_else(collage: CollageRenderer, colour: str) -> None:
    other = "green" if colour in {"red", "black", "white", "gray", "purple", "pink"} else "purple"
    found = []
    for seed in SEEDS:
        painted = pixels(collage, f"a {colour} elephant on a white background", seed)
        mask = differs(painted, pixels(collage, f"a {other} elephant on a white background", seed))
        assert 0.02 < mask.mean() < 0.8
        found.append(np.median(painted[mask], axis=0))
    mean = np.mean(found, axis=0)
    nearest = min(TINTS, key=lambda name: float(np.linalg.norm(mean - TINTS[name])))
    assert nearest == colour


@pytest.mark.parametrize("seed", SEEDS)
def test_a_background_word_changes_the_ground_and_not_the_subject(collage: CollageRenderer, seed: int) -> None:
    grounds = {name: pixels(collage, f"a dog, {phrases[0]}", seed) for name, phrases in BACKGROUNDS.items()}
    for one, other in pairwise(sorted(grounds)):
        changed = differs(grounds[one], grounds[other])
        assert changed.mean() > 0.15, (one, other)
    brightness = {name: float(ground[:12].mean()) for name, ground in grounds.items()}
    assert max(brightness["night"], brightness["black"]) < 110 < brightness["white"]


def test_backgrounds_have_the_colours_of_their_places(collage: CollageRenderer) -> None:
    def corner(name: str, rows: slice) -> npt.NDArray[np.float64]:
        drawn = [pixels(collage, f"a tiny dog, {BACKGROUNDS[name][0]}", seed)[rows] for seed in range(24)]
        return np.mean([image.mean(axis=(0, 1)) for image in drawn], axis=0)

    top, bottom = slice(0, SIZE // 4), slice(-SIZE // 6, None)
    red, green, blue = corner("meadow", bottom)
    assert green > max(red, blue)
    red, green, blue = corner("underwater", top)
    assert blue > green > red
    red, green, blue = corner("desert", bottom)
    assert red > green > blue
    assert corner("snow", bottom).mean() > 170
    assert corner("night", top).mean() < 70
    red, green, blue = corner("water", bottom)
    assert blue > red
    assert corner("white", top).mean() > 200
    assert corner("black", top).mean() < 60
    red, green, blue = corner("sunset", slice(SIZE // 3, SIZE // 2))
    assert red > blue


def _islands(mask: Mask) -> int:
    """Connected areas of more than a few pixels."""
    left, count = mask.copy(), 0
    while left.any():
        todo, size = [tuple(np.argwhere(left)[0])], 0
        left[todo[0]] = False
        while todo:
            row, column = todo.pop()
            size += 1
            for r, c in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if 0 <= r < left.shape[0] and 0 <= c < left.shape[1] and left[r, c]:
                    left[r, c] = False
                    todo.append((r, c))
        count += size > 12
    return count


@pytest.mark.parametrize(("word", "count"), [("a", 1), ("two", 2), ("three", 3), ("four", 4), ("five", 5)])
def test_a_count_word_is_seen_as_that_many_things(collage: CollageRenderer, word: str, count: int) -> None:
    noun = "ball" if count == 1 else "balls"
    seen = []
    for seed in range(12):
        red = pixels(collage, f"{word} small red {noun} on a white background", seed)
        mask = differs(red, pixels(collage, f"{word} small blue {noun} on a white background", seed))
        seen.append(_islands(mask))
    # Two may touch in some images, and a dark seam may part one.
    assert int(np.median(seen)) == count, seen


class _Seen:
    """Where a red subject and a blue second thing are in an image, told by painting each in another colour."""

    def __init__(self, collage: CollageRenderer, relation: str, seed: int) -> None:
        many = relation in {"between", "among"}
        second = "{} hats" if relation == "wearing" and many else "{} boxes" if many else "a {} box"
        if relation == "wearing":
            second = "a {} hat"
        caption = f"a {{}} apple {RELATIONS[relation][0]} {second} on a white background"  # type: ignore[index]
        drawn = pixels(collage, caption.format("red", "blue"), seed)
        self.subject = differs(drawn, pixels(collage, caption.format("green", "blue"), seed))
        self.second = differs(drawn, pixels(collage, caption.format("red", "yellow"), seed))

    @staticmethod
    def box(mask: Mask) -> tuple[float, float, float, float]:
        """Left, top, right, bottom; shares of the side."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return columns[0] / SIZE, rows[0] / SIZE, columns[-1] / SIZE, rows[-1] / SIZE

    @staticmethod
    def centre(mask: Mask) -> tuple[float, float]:
        rows, columns = np.nonzero(mask)
        return float(columns.mean()) / SIZE, float(rows.mean()) / SIZE


def _holds(relation: str, seen: _Seen) -> bool:
    (x, y), (left, top, right, bottom) = seen.centre(seen.subject), seen.box(seen.subject)
    (x2, y2), (left2, top2, right2, bottom2) = seen.centre(seen.second), seen.box(seen.second)
    apart = max(abs(x - x2), abs(y - y2))
    inside = left2 < x < right2 and top2 < y < bottom2
    return {
        "in": inside and left > left2 - 0.1 and right < right2 + 0.1,
        "on": y < y2 and abs(bottom - top2) < 0.2,
        "under": y > y2 and abs(top - bottom2) < 0.2,
        "above": y < y2 and bottom < top2 + 0.12,
        "beside": abs(x - x2) > abs(y - y2) and apart > 0.2,
        "left of": x < x2 and right < left2 + 0.12,
        "right of": x > x2 and left > right2 - 0.12,
        "behind": y < y2 and apart < 0.4,
        "in front of": y > y2 and apart < 0.4,
        "between": left2 < x < right2 and left2 < left and right < right2,
        "among": left2 < x < right2 and top2 < y < bottom2,
        "around": apart > 0.15,
        "far from": apart > 0.4 and seen.second.sum() < 0.4 * seen.subject.sum(),
        "wearing": y > y2 and seen.second.sum() < seen.subject.sum() and bottom2 > top - 0.05,
        "holding": inside or (left < x2 < right and seen.second.sum() < seen.subject.sum()),
    }[relation]


@pytest.mark.parametrize("relation", sorted(RELATIONS))
def test_a_relation_word_moves_the_things(collage: CollageRenderer, relation: str) -> None:
    held = [_holds(relation, _Seen(collage, relation, seed)) for seed in SEEDS]
    assert sum(held) >= len(held) - 1, held


def test_what_stands_in_front_covers_the_other(collage: CollageRenderer) -> None:
    def seen_share(relation: str) -> float:
        areas = [_Seen(collage, relation, seed) for seed in SEEDS]
        return float(np.mean([area.subject.sum() / (area.subject.sum() + area.second.sum()) for area in areas]))

    assert seen_share("in front of") > seen_share("behind") + 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_every_relation_gives_other_pixels(collage: CollageRenderer, seed: int) -> None:
    images = [pixels(collage, f"a cat {phrases[0]} two cars in a meadow", seed) for phrases in RELATIONS.values()]
    for i, one in enumerate(images):
        for other in images[i + 1 :]:
            assert differs(one, other).mean() > 0.005
