"""The curves of a run: every loss term by its own name, the learning rate, the speed and the wait for data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from synfarm.contracts.runs import StepMetrics
from synfarm.report.charts import Series, line_chart, window_for
from synfarm.report.quantities import count, percent, times

__all__ = ["Curves", "Panel", "curves"]

TOTAL = "total"
_X_LABEL = "optimiser step"


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart and the line below it."""

    name: str
    chart: Markup
    note: str


@dataclass(frozen=True, slots=True)
class Curves:
    """What a run's metrics show."""

    losses: tuple[Panel, ...]
    speed: tuple[Panel, ...]
    monitors: tuple[Panel, ...]
    merged: tuple[str, ...]
    """Terms that equal the total at every step and are therefore drawn once, as the total."""
    seconds: float
    """Spent in steps, as far as the metrics were read."""
    waited: float
    """Of these, spent waiting for data."""
    refilled: int
    """Samples replaced because of damage at rest."""


def curves(metrics: Sequence[StepMetrics]) -> Curves | None:
    """Charts of the metrics in order of step; None without any."""
    if not metrics:
        return None
    terms = _names(line.losses for line in metrics)
    merged = tuple(
        name
        for name in terms
        if name != TOTAL and TOTAL in terms and all(m.losses.get(name) == m.losses.get(TOTAL) for m in metrics)
    )
    losses = [name for name in terms if name not in merged]

    def share(line: StepMetrics) -> float:
        return 100 * min(1.0, line.data_wait_seconds / line.seconds) if line.seconds > 0 else math.nan

    seconds = math.fsum(line.seconds for line in metrics)
    waited = math.fsum(min(line.data_wait_seconds, line.seconds) for line in metrics)
    speed = (
        _panel(
            "rate", metrics, "learning rate", "learning rate", lambda m: m.learning_rate, _peak, zero=True, smooth=False
        ),
        _panel("speed", metrics, "speed", "images / s", lambda m: m.images_per_second, _median, zero=True),
        _panel("wait", metrics, "wait for data", "% of a step's time", share, _share_of(seconds, waited), zero=True),
    )
    return Curves(
        losses=tuple(_panel(f"loss-{i}", metrics, name, "loss", _term(name), _ends) for i, name in enumerate(losses)),
        speed=speed,
        monitors=tuple(
            _panel(f"monitor-{i}", metrics, name, "value", _monitor(name), _ends)
            for i, name in enumerate(_names(line.monitors for line in metrics))
        ),
        merged=merged,
        seconds=seconds,
        waited=waited,
        refilled=metrics[-1].refilled,
    )


def _term(name: str) -> Callable[[StepMetrics], float]:
    return lambda line: line.losses.get(name, math.nan)


def _monitor(name: str) -> Callable[[StepMetrics], float]:
    return lambda line: line.monitors.get(name, math.nan)


def _names(groups: Iterable[Mapping[str, float]]) -> list[str]:
    """Every name that occurs, in order of appearance, the total last."""
    seen = dict.fromkeys(name for group in groups for name in group)
    return [name for name in seen if name != TOTAL] + [name for name in seen if name == TOTAL]


def _panel(
    key: str,
    metrics: Sequence[StepMetrics],
    name: str,
    unit: str,
    value: Callable[[StepMetrics], float],
    tell: Callable[[Series], str],
    *,
    zero: bool = False,
    smooth: bool = True,
) -> Panel:
    """A chart, and what is to be read off it in words."""
    whole = Series(name, tuple(float(m.step) for m in metrics), tuple(value(m) for m in metrics))
    xs_ys = [(x, y) for x, y in zip(whole.xs, whole.ys, strict=True) if math.isfinite(y)]
    note = tell(Series(name, tuple(x for x, _ in xs_ys), tuple(y for _, y in xs_ys))) if xs_ys else "no values"
    if xs_ys and (gaps := len(whole) - len(xs_ys)):
        note += f"; {times(gaps, 'step')} without a number"
    chart = line_chart(
        f"chart-{key}",  # never made of the name, which two terms could share once it is made safe
        whole,
        title=f"{name} over the steps of the run",
        description=f"{name}: {note}.",
        x_label=_X_LABEL,
        y_label=unit,
        zero=zero,
        smooth=smooth,
    )
    return Panel(name, chart, note)


def _ends(series: Series) -> str:
    """From where to where, each as a mean: single steps are noisy."""
    width = min(window_for(series), len(series))
    first, last = (math.fsum(part) / width for part in (series.ys[:width], series.ys[-width:]))
    means = f" (means of {count(width)} steps)" if width > 1 else ""
    return f"{_figure(first)} to {_figure(last)}{means}"


def _peak(series: Series) -> str:
    step, top = max(zip(series.xs, series.ys, strict=True), key=lambda point: point[1])
    return f"at most {_figure(top)}, at step {count(int(step))}"


def _median(series: Series) -> str:
    return f"median {_figure(statistics.median(series.ys))}"


def _share_of(seconds: float, waited: float) -> Callable[[Series], str]:
    share = percent(waited / seconds if seconds > 0 else math.nan)
    return lambda _: f"{share} of the time of all steps"


def _figure(value: float) -> str:
    """Three significant digits, or all of a larger whole part."""
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")
