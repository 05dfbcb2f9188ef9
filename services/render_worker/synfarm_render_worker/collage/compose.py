"""Composes one image: background, clutter, then the scene's things in the places that count and relation give them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from PIL import Image, ImageFilter

from synfarm_render_worker.collage.artwork import Artwork, ArtworkIndex, styles_of
from synfarm_render_worker.collage.backdrop import choose_background, paint
from synfarm_render_worker.collage.draws import Draws
from synfarm_render_worker.collage.layout import Block, Spot, arrange
from synfarm_render_worker.collage.light import light
from synfarm_render_worker.collage.scene import SceneRecord, Thing
from synfarm_render_worker.renderer import RenderedImage

__all__ = ["Composer"]

_FINISHES = ("plain", "plain", "shadow", "shadow", "sticker", "glow")


@dataclass(frozen=True, slots=True)
class _Look:
    """What an image chooses for one thing."""

    style: str
    code: str
    count: int
    finish: str


_PLAIN = 0.7
"""Share of things drawn with the first artwork of their concept."""


class Composer:
    """Draws a scene for a seed. Pure in both; keeps rasterised artwork only."""

    def __init__(self, index: ArtworkIndex, side: int) -> None:
        """``side``: pixels of the square image."""
        self._index, self._side = index, side
        self._artwork = Artwork(max(64, min(512, side)))

    def draw(self, scene: SceneRecord, seed: int) -> RenderedImage:
        draws = Draws(seed)
        background = choose_background(scene.background, draws)
        image = _out_of_focus(paint(background, draws, self._side), draws)
        clutter = self._add_clutter(image, background, draws)
        asked = {"subject": scene.subject, "second": scene.second, "third": scene.third}
        things = {role: thing for role, thing in asked.items() if thing is not None}
        looks = {role: self._look(thing, role, draws) for role, thing in things.items()}
        blocks = {role: self._block(thing, looks[role]) for role, thing in things.items()}
        second, third = blocks.get("second"), blocks.get("third")
        for spot in arrange(blocks["subject"], second, scene.relation, draws, third):
            self._add(image, spot, things[spot.role], looks[spot.role], draws)
        drawn = {"background": background, "clutter": clutter, "looks": {r: asdict(look) for r, look in looks.items()}}
        record: Mapping[str, object] = {**asdict(scene), "drawn": drawn}
        return RenderedImage(light(image, draws), record)

    def _look(self, thing: Thing, role: str, draws: Draws) -> _Look:
        count = thing.count if thing.count is not None else draws.whole(f"{role}/count", 2, 4)
        codes = self._index.concepts[thing.concept]
        # Mostly the concept's plainest artwork: a face and a whole animal as positives of one caption teach little.
        code = codes[0] if draws.chance(f"{role}/plain", _PLAIN) else draws.choice(f"{role}/code", codes)
        style = draws.choice(f"{role}/style", styles_of(code))
        return _Look(style, code, count, draws.choice(f"{role}/finish", _FINISHES))

    def _block(self, thing: Thing, look: _Look) -> Block:
        art = self._artwork.get(look.style, look.code, thing.colour)
        longer = max(art.size)
        return Block(thing.size, look.count, art.width / longer, art.height / longer)

    def _add(self, image: Image.Image, spot: Spot, thing: Thing, look: _Look, draws: Draws) -> None:
        art = self._artwork.get(look.style, look.code, thing.colour)
        name, i = f"{spot.role}/pose", spot.index
        sprite = _posed(art, spot.size * self._side, draws, name, i, turn=9)
        left, top = round(spot.x * self._side - sprite.width / 2), round(spot.y * self._side - sprite.height / 2)
        if look.finish != "plain":
            _underlay(image, sprite, left, top, look.finish, self._side)
        image.paste(sprite, (left, top), sprite)

    def _add_clutter(self, image: Image.Image, background: str, draws: Draws) -> list[str]:
        codes = self._index.clutter.get(background) or self._index.clutter["studio"]
        chosen = draws.several("clutter", codes, draws.whole("clutter/count", 0, 2))
        for i, code in enumerate(chosen):
            art = self._artwork.get(draws.choice("clutter/style", styles_of(code), i), code)
            sprite = _posed(art, draws.between("clutter/size", 0.1, 0.2, i) * self._side, draws, "clutter", i, turn=40)
            x, y = (draws.between(f"clutter/{axis}", 0.04, 0.96, i) * self._side for axis in "xy")
            image.paste(sprite, (round(x - sprite.width / 2), round(y - sprite.height / 2)), sprite)
        return chosen


def _out_of_focus(ground: Image.Image, draws: Draws) -> Image.Image:
    """The ground a little blurred, as a lens does it that looks at the subject."""
    return ground.filter(ImageFilter.GaussianBlur(ground.width * draws.between("focus", 0.01, 0.04)))


def _posed(art: Image.Image, side: float, draws: Draws, name: str, index: int, *, turn: float) -> Image.Image:
    """The artwork at ``side`` pixels of its longer edge, stretched, mirrored and turned as the image chooses."""
    stretch = draws.between(f"{name}/stretch", 0.88, 1.14, index)
    scale = side / max(art.size)
    width, height = (max(2, round(edge * scale * s)) for edge, s in zip(art.size, (stretch, 1 / stretch), strict=True))
    sprite = art.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    if draws.chance(f"{name}/flip", 0.5, index):
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = draws.between(f"{name}/turn", -turn, turn, index)
    return sprite.rotate(angle, Image.Resampling.BILINEAR, expand=True)


def _underlay(image: Image.Image, sprite: Image.Image, left: int, top: int, finish: str, side: int) -> None:
    """A shadow, a white edge or a glow below the sprite."""
    reach = max(2, math.ceil(side / 32))
    alpha = Image.new("L", (sprite.width + 2 * reach, sprite.height + 2 * reach))
    alpha.paste(sprite.getchannel("A"), (reach, reach))
    if finish == "sticker":
        mask, colour, shift = alpha.filter(ImageFilter.MaxFilter(2 * (reach // 2) + 1)), (250, 250, 250), 0
    elif finish == "glow":
        mask, colour, shift = alpha.filter(ImageFilter.BoxBlur(reach)), (255, 250, 214), 0
    else:
        mask, colour, shift = alpha.filter(ImageFilter.BoxBlur(reach / 2)).point(lambda a: a * 0.5), (0, 0, 0), reach
    image.paste(colour, (left - reach + shift, top - reach + shift), mask)
