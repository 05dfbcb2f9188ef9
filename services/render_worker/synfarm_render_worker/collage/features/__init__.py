"""Simple shapes that make a background a place: each draws itself with positions and shades of the image's own."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_render_worker.collage.features.canvas import Canvas, Feature
from synfarm_render_worker.collage.features.land import LAND
from synfarm_render_worker.collage.features.rooms import ROOMS
from synfarm_render_worker.collage.features.streets import STREETS
from synfarm_render_worker.collage.features.weather import WEATHER

__all__ = ["FEATURES", "Canvas"]

FEATURES: Mapping[str, Feature] = {**LAND, **ROOMS, **STREETS, **WEATHER}
"""By the names that ``places.PLACES`` uses."""
