"""How many captions make a unit, when the user does not say: 30 to 120 seconds of rendering, 8 to 1024 captions."""

from __future__ import annotations

from synfarm.contracts.jobs import JobRequest, RenderSettings

__all__ = ["default_unit_size", "guessed_seconds_per_image"]

_SECONDS_PER_UNIT = 60.0
_SECONDS_PER_IMAGE = {"s": 0.4, "m": 0.5, "l": 2.0, "xl": 6.0}
"""Rough, for one data-centre GPU at 50 guided steps; what matters is the order of magnitude."""
_COLLAGE_SECONDS_PER_IMAGE = 0.015
_SPREAD = 64
"""A job is cut into at least about this many units, so that small jobs still use several workers and show progress."""


def guessed_seconds_per_image(render: RenderSettings) -> float:
    """Of one render worker, before anything was measured: right to a factor of a few."""
    if render.renderer == "collage":
        return _COLLAGE_SECONDS_PER_IMAGE
    return _SECONDS_PER_IMAGE[render.size_class] * render.network_passes / 100


def default_unit_size(request: JobRequest) -> int:
    """Captions in a unit, within 8 to 1024."""
    fitting = int(_SECONDS_PER_UNIT / (guessed_seconds_per_image(request.render) * request.images_per_caption))
    return max(8, min(1024, fitting, request.captions // _SPREAD))
