"""The collage renderer behind the Renderer protocol: caption words in, composed emoji artwork out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version

from synfarm.concepts import Lexicon, load
from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import UnitFault
from synfarm_render_worker.collage.artwork import SOURCES, load_index
from synfarm_render_worker.collage.caption import CaptionReader, NoConceptNamed
from synfarm_render_worker.collage.compose import Composer
from synfarm_render_worker.collage.phrases import tokens
from synfarm_render_worker.renderer import ImageRequest, RenderedImage, Spent, Step, no_step

__all__ = ["CaptionNotDrawable", "CollageRenderer"]

_LARGEST = 512
_DRAWING = "2"
"""Raised whenever the same caption and seed come to give other pixels, so that a redraw can tell."""


class CaptionNotDrawable(UnitFault):
    """A caption names no concept that there is artwork for.

    There is no stand-in picture: the job's concepts were checked at submission and the caption gate keeps only
    captions that name theirs, so this tells of a synonym that the job gave and the collage set does not know.
    """


class CollageRenderer:
    """Renders at the stored size. Its only inputs are the caption's words and the image's seed."""

    def __init__(self, settings: RenderSettings) -> None:
        """
        Raises:
            UnitFault: the size is beyond what the artwork is good for.
        """
        if settings.size > _LARGEST:
            raise UnitFault(f"render.size: collage draws up to {_LARGEST} px, not {settings.size}; ask for less")
        self._capability = settings.capability
        self._composer = Composer(load_index(), settings.size)
        # Bound to this instance, so that the images of a caption share one reading of it.
        self._read = lru_cache(maxsize=1024)(CaptionReader(load("collage")).read)

    @property
    def name(self) -> str:
        return "collage"

    @property
    def model(self) -> str | None:
        return None

    @property
    def revision(self) -> str | None:
        return None

    @property
    def capability(self) -> str:
        return self._capability

    @property
    def versions(self) -> Mapping[str, str]:
        packages = ("resvg-py", "pillow", "numpy", *(source.package for source in SOURCES))
        return {"collage": _DRAWING, **{package: version(package) for package in packages}}

    @property
    def batch_hint(self) -> int:
        return 32

    def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
        """
        Raises:
            CaptionNotDrawable: a caption names no known concept; the message has near names.
        """
        return [self._one(request) for request in requests]

    def spent(self) -> Spent:
        return Spent()

    def _one(self, request: ImageRequest) -> RenderedImage:
        try:
            scene = self._read(request.caption)
        except NoConceptNamed as error:
            lexicon = Lexicon(load("collage"))
            words = [word for word in tokens(request.caption) if len(word) > 3]
            close = [name for word in words for name in lexicon.near(word, limit=1)]
            hint = f"; near: {', '.join(dict.fromkeys(close))}" if close else ""
            raise CaptionNotDrawable(f"{error}{hint}") from error
        return self._composer.draw(scene, request.seed)
