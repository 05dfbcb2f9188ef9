"""Templates to answers: one Jinja environment, the words and numbers it may use, and what every page is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from synfarm.contracts.base import utc_now
from synfarm.safe_text import visible
from synfarm_caption_api.web import formats
from synfarm_caption_api.web.visitor import Visitor, is_open

__all__ = ["Pages"]


def _harmless(value: object) -> object:
    """Words lose what would act in a page, such as a turn of the direction of writing; they are escaped after it."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("synfarm_caption_api.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in formats.__all__:
        environment.filters[name] = getattr(formats, name)
    environment.filters["pretty_json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    return environment


class Pages:
    """Renders whole pages and the fragments that keep them fresh."""

    def __init__(self) -> None:
        self._environment = _environment()

    def page(
        self,
        request: Request,
        template: str,
        visitor: Visitor | None = None,
        *,
        status: int = 200,
        **context: Any,
    ) -> Response:
        """An answer of ``templates/<template>``; ``visitor`` is None where nobody has signed in."""
        known: Mapping[str, Any] = {
            "now": utc_now(),
            "owner": visitor.principal.owner if visitor else None,
            "role": visitor.principal.role if visitor else None,
            "open_server": is_open(request),
            "section": template.removesuffix(".html"),
        }
        return HTMLResponse(self._environment.get_template(template).render({**known, **context}), status)
