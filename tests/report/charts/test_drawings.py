"""From numbers to coordinates: where lines, dots, whiskers and bars end up, also when there is nothing to draw."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from synfarm.report.charts import Dot, Series, bar, dot_chart, line_chart
from synfarm.report.charts.line import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH

HOSTILE = "</svg><script>alert(1)</script>\"' & \x00"


def drawn(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def line(*ys: float, xs: tuple[float, ...] | None = None, smooth: bool = False) -> ElementTree.Element:
    series = Series("loss", xs or tuple(float(x) for x in range(len(ys))), ys)
    words = {"title": "loss", "description": "d", "x_label": "step", "y_label": "loss"}
    return drawn(line_chart("key", series, smooth=smooth, **words))


def points(element: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", element.attrib["d"])]


def curves(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [path for path in root.iter("path") if "curve" in path.attrib["class"]]


def texts(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter("text")]


def test_a_line_runs_from_corner_to_corner() -> None:
    (curve,) = curves(line(0.0, 1.0, 2.0))
    assert points(curve) == [
        (LEFT, HEIGHT - BOTTOM),
        ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2),
        (WIDTH - RIGHT, TOP),
    ]


def test_raw_values_lie_under_their_mean() -> None:
    root = line(*[float(i % 2) for i in range(100)], smooth=True)
    assert [curve.attrib["class"] for curve in curves(root)] == ["curve raw", "curve smooth"]
    raw, smooth = ([y for _, y in points(curve)] for curve in curves(root))
    assert max(smooth) - min(smooth) < (max(raw) - min(raw)) / 2


def test_a_value_that_is_no_number_interrupts_the_line() -> None:
    root = line(1.0, 2.0, math.nan, 3.0, math.inf, 4.0, 5.0)
    assert [len(points(curve)) for curve in curves(root)] == [2, 2]
    assert len(list(root.iter("circle"))) == 1, "a value alone between gaps is a dot"


@pytest.mark.parametrize("ys", [(), (math.nan,), (math.inf, math.nan)])
def test_without_numbers_the_chart_says_so(ys: tuple[float, ...]) -> None:
    root = line(*ys)
    assert not curves(root)
    assert "no values" in texts(root)


@pytest.mark.parametrize("y", [0.0, 7.5, -3.0, 1e-9])
def test_one_point_is_a_dot_inside_the_frame(y: float) -> None:
    (dot,) = line(y, xs=(5.0,)).iter("circle")
    assert LEFT <= float(dot.attrib["cx"]) <= WIDTH - RIGHT
    assert TOP <= float(dot.attrib["cy"]) <= HEIGHT - BOTTOM


def test_a_long_run_stays_small() -> None:
    ys = [math.sin(i) for i in range(200_000)]
    series = Series("loss", tuple(float(i) for i in range(len(ys))), tuple(ys))
    markup = line_chart("key", series, title="t", description="d", x_label="step", y_label="loss")
    assert len(markup) < 25_000


@pytest.mark.parametrize(("value", "width"), [(50.0, 100), (100.0, 200), (0.001, 1), (900.0, 200)])
def test_a_bar_is_as_long_as_its_share(value: float, width: float) -> None:
    _, fill = drawn(bar(value, 100.0)).iter("rect")
    assert float(fill.attrib["width"]) == width


@pytest.mark.parametrize(("value", "largest"), [(0.0, 100.0), (math.nan, 100.0), (1.0, 0.0), (-5.0, 100.0)])
def test_nothing_has_no_bar(value: float, largest: float) -> None:
    assert len(list(drawn(bar(value, largest)).iter("rect"))) == 1, "the track alone"


def dots(*rows: Dot, mark: float | None = None) -> ElementTree.Element:
    return drawn(dot_chart("key", rows, title="t", description="d", x_label="%", mark=mark))


def test_whiskers_reach_one_standard_error_to_both_sides() -> None:
    root = dots(Dot("network", 10.0, 2.0, "network"), Dot("pixels", 20.0, None))
    first, second = (float(circle.attrib["cx"]) for circle in root.iter("circle"))
    (whisker,) = [
        w for w in root.iter("line") if w.attrib["class"] == "whisker network" and w.attrib["y1"] == w.attrib["y2"]
    ]
    unit = (second - first) / 10
    assert float(whisker.attrib["x1"]) == pytest.approx(first - 2 * unit, abs=0.11)
    assert float(whisker.attrib["x2"]) == pytest.approx(first + 2 * unit, abs=0.11)
    assert {"network", "10.0 ± 2.0", "pixels", "20.0"} <= set(texts(root))


def test_the_mark_stands_where_its_dot_stands() -> None:
    root = dots(Dot("a", 4.0, 1.0), Dot("b", 8.0, 1.0), mark=8.0)
    (mark,) = [found for found in root.iter("line") if found.attrib["class"] == "mark"]
    assert mark.attrib["x1"] == list(root.iter("circle"))[1].attrib["cx"]


def test_dots_without_a_number_are_named_and_not_drawn() -> None:
    root = dots(Dot("a", math.nan, 1.0), Dot("b", 5.0, math.nan))
    assert "no number" in texts(root)
    assert len(list(root.iter("circle"))) == 1
    assert not [found for found in root.iter("line") if "whisker" in found.attrib["class"]]


def test_no_dots_at_all() -> None:
    assert not list(dots().iter("circle"))


def test_text_stays_text() -> None:
    for markup in (
        dot_chart("key", [Dot(HOSTILE, 1.0)], title=HOSTILE, description=HOSTILE, x_label=HOSTILE),
        line_chart(
            "key", Series(HOSTILE, (), ()), title=HOSTILE, description=HOSTILE, x_label=HOSTILE, y_label=HOSTILE
        ),
    ):
        assert "<script" not in markup
        assert "\x00" not in markup
        root = drawn(markup)
        assert {"svg", "title", "desc", "text", "line", "circle"} >= {element.tag for element in root.iter()}
        assert root.find("title") is not None
        assert root.attrib["aria-labelledby"] == "key-title key-desc"
