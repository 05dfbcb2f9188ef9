"""What the page's routes work with beside the API's services: templates, the trainer, curves already read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from synfarm_caption_api.web.curves import CurveBook
from synfarm_caption_api.web.rendering import Pages
from synfarm_caption_api.web.trainer import Trainer

__all__ = ["Web", "WebParts"]


@dataclass(frozen=True, slots=True)
class WebParts:
    """Built once by :func:`synfarm_caption_api.web.application.make_web`."""

    pages: Pages
    trainer: Trainer | None
    """None where the setting names no trainer."""
    curves: CurveBook


def _parts(request: Request) -> WebParts:
    parts: WebParts = request.app.state.web
    return parts


Web = Annotated[WebParts, Depends(_parts)]
"""Route parameter."""
