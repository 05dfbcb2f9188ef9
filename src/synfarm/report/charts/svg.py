"""Builds SVG as a tree, so that no text of a user or a language model can ever become markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from markupsafe import Markup

from synfarm.safe_text import visible

__all__ = ["Element", "add", "figure", "number", "path", "to_markup"]

Element = ElementTree.Element


def number(value: float) -> str:
    """A coordinate: a tenth of a unit is finer than any screen shows."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def add(parent: Element, tag: str, text: str = "", /, **attributes: str | float) -> Element:
    """Append a child; ``class_`` gives ``class`` and ``text_anchor`` ``text-anchor``."""
    child = ElementTree.SubElement(parent, tag, _attributes(attributes))
    if text:
        child.text = visible(text)
    return child


def figure(key: str, width: float, height: float, *, title: str, description: str) -> Element:
    """An ``<svg>`` that a screen reader announces by its title and description; ``key`` is unique in the page."""
    root = Element(
        "svg",
        {
            "viewBox": f"0 0 {number(width)} {number(height)}",
            "class": "chart",
            "role": "img",
            "aria-labelledby": f"{key}-title {key}-desc",
        },
    )
    add(root, "title", title, id=f"{key}-title")
    add(root, "desc", description, id=f"{key}-desc")
    return root


def path(points: Sequence[tuple[float, float]]) -> str:
    """The ``d`` of a polyline through points in the SVG's own units."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def to_markup(root: Element) -> Markup:
    """The tree as text that a template may hold as it is: serialising it has escaped every text."""
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _attributes(values: Mapping[str, str | float]) -> dict[str, str]:
    return {
        name.rstrip("_").replace("_", "-"): visible(value) if isinstance(value, str) else number(value)
        for name, value in values.items()
    }
