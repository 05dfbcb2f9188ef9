"""Makes the page of a document: one HTML file that needs no network, no script and no font of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from synfarm.report import quantities
from synfarm.report.document import Document
from synfarm.safe_text import visible

__all__ = ["render"]


def _printable(value: object) -> object:
    """What is put into the page: text loses what would act in it; everything but our own markup is escaped after it."""
    return value if isinstance(value, Markup) else visible(str(value))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("synfarm.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Any] = {
        "clip": quantities.clip,
        "count": quantities.count,
        "duration": quantities.duration,
        "moment": quantities.moment,
        "percent": quantities.percent,
    }
    environment.filters.update(filters)
    environment.globals["times"] = quantities.times
    return environment


def render(document: Document) -> str:
    """The page as text; write it as UTF-8."""
    return _environment().get_template("report.html").render(doc=document)
