"""From images and times to the numbers of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

import numpy as np
import numpy.typing as npt

from synfarm.contracts.base import utc_now
from synfarm.contracts.comparisons import (
    Comparison,
    ComparisonPlan,
    ContrastWithFirst,
    DrawnColumn,
    PlannedColumn,
)
from synfarm_render_worker.compare.measures import Measure, Values
from synfarm_render_worker.compare.rounds import Drawn
from synfarm_render_worker.scoring.scorer import Scorer

__all__ = ["compared"]

_AT_ONCE = 64
"""Pairs of images whose distance is computed together, to bound the memory."""
Pairs = Sequence[tuple[int, int]]
Rows = Mapping[str, npt.NDArray[Any]]
"""What each measure keeps of a column's images."""


def compared(
    plan: ComparisonPlan,
    columns: Sequence[Drawn],
    measures: Sequence[Measure],
    *,
    clip: Scorer | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """All numbers; the first column is what the others are compared with."""
    rows: list[Rows] = [{measure.name: measure.prepared(drawn.images) for measure in measures} for drawn in columns]
    both = list(zip(plan.columns, columns, strict=True))
    return Comparison(
        at=utc_now(),
        captions=plan.captions,
        images=plan.images,
        seed=plan.seed,
        measures={measure.name: measure.about for measure in measures},
        columns=tuple(_column(plan, *each, measures, own, clip) for each, own in zip(both, rows, strict=True)),
        contrasts=tuple(
            _contrast(plan, name, columns[0], drawn, measures, rows[0], own)
            for (planned, drawn), own in zip(both[1:], rows[1:], strict=True)
            for name in (planned.name,)
        ),
        notes=tuple(notes),
    )


def _column(
    plan: ComparisonPlan,
    planned: PlannedColumn,
    drawn: Drawn,
    measures: Sequence[Measure],
    rows: Rows,
    clip: Scorer | None,
) -> DrawnColumn:
    seconds = sum(drawn.seconds)
    seeds, captions = _pairs_of_seeds(plan), _pairs_of_captions(plan)
    return DrawnColumn(
        name=planned.name,
        render=planned.render,
        network_passes=planned.render.network_passes,
        load_seconds=round(drawn.load_seconds, 3),
        warm_up_seconds=round(drawn.warm_up_seconds, 3),
        images=len(drawn.images),
        seconds=seconds,
        images_per_second=len(drawn.images) / seconds,
        rounds=tuple(count / took for count, took in zip(drawn.counts, drawn.seconds, strict=True)),
        seeds={m.name: _mean(_distances(m, rows, rows, seeds)) for m in measures},
        captions={m.name: _mean(_distances(m, rows, rows, captions)) for m in measures} if captions else {},
        scores={} if clip is None else _scores(plan, drawn, clip),
        versions=drawn.versions,
    )


def _contrast(
    plan: ComparisonPlan,
    name: str,
    first: Drawn,
    other: Drawn,
    measures: Sequence[Measure],
    first_rows: Rows,
    other_rows: Rows,
) -> ContrastWithFirst:
    ratios = [before / now for before, now in zip(first.seconds, other.seconds, strict=True)]
    same = [(place, place) for place in range(len(first.images))]
    found = {m.name: _distances(m, first_rows, other_rows, same) for m in measures}
    return ContrastWithFirst(
        name=name,
        speed=median(ratios),
        speed_range=(min(ratios), max(ratios)),
        distances={measure: _mean(values) for measure, values in found.items()},
        by_caption={
            measure: tuple(float(v) for v in values.reshape(-1, plan.images).mean(axis=1))
            for measure, values in found.items()
        },
    )


def _scores(plan: ComparisonPlan, drawn: Drawn, scorer: Scorer) -> dict[str, float]:
    captions = [caption for caption in plan.captions for _ in range(plan.images)]
    found = scorer.score(captions, drawn.images)
    return {name: fmean(scores[name] for scores in found) for name in found[0]}


def _pairs_of_seeds(plan: ComparisonPlan) -> Pairs:
    """Images of one caption, each with the next."""
    each = plan.images
    return [(i * each + k, i * each + k + 1) for i in range(len(plan.captions)) for k in range(each - 1)]


def _pairs_of_captions(plan: ComparisonPlan) -> Pairs:
    """Images of a caption with those of the next other one in the list."""
    each, captions = plan.images, plan.captions
    nexts = [(i, (i + 1) % len(captions)) for i in range(len(captions))]
    return [(i * each + k, j * each + k) for i, j in nexts if captions[i] != captions[j] for k in range(each)]


def _distances(measure: Measure, left: Rows, right: Rows, pairs: Pairs) -> Values:
    ours, theirs = left[measure.name], right[measure.name]
    parts = []
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        parts.append(measure.between(ours[[a for a, _ in some]], theirs[[b for _, b in some]]))
    return np.concatenate(parts)


def _mean(values: Values) -> float:
    # Rounding leaves an image's cosine with itself a hair above 1.
    return max(0.0, fmean(float(value) for value in values))
