"""The report's charts as inline SVG: numbers in, markup out, no library and no script needed to see them."""

from __future__ import annotations

from synfarm.report.charts.bars import bar
from synfarm.report.charts.dots import Dot, dot_chart
from synfarm.report.charts.line import line_chart
from synfarm.report.charts.series import Series, window_for

__all__ = ["Dot", "Series", "bar", "dot_chart", "line_chart", "window_for"]
