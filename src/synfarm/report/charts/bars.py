"""Bars for the cells of a table: the number stands beside them, so they are drawings only."""

from __future__ import annotations

import math

from markupsafe import Markup

from synfarm.report.charts.svg import Element, add, to_markup

__all__ = ["bar"]

WIDTH, HEIGHT = 200.0, 12.0


def bar(value: float, largest: float, *, kind: str = "plain") -> Markup:
    """A bar as long as ``value`` beside ``largest``; what is not zero can be seen, what is no number is empty.

    Args:
        kind: a class for its colour.
    """
    root = Element("svg", {"viewBox": "0 0 200 12", "class": "bar", "aria-hidden": "true", "focusable": "false"})
    root.set("preserveAspectRatio", "none")
    add(root, "rect", x=0, y=0, width=WIDTH, height=HEIGHT, class_="track")
    if math.isfinite(value) and math.isfinite(largest) and value > 0 and largest > 0:
        length = min(max(WIDTH * value / largest, 1.0), WIDTH)
        add(root, "rect", x=0, y=0, width=length, height=HEIGHT, class_=f"fill {kind}")
    return to_markup(root)
