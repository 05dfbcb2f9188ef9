"""Logistic regression on frozen features of a labelled set (method section 5.2; paper, appendix B.5).

The penalty is chosen on the validation images by the set's own score, the classifier then fitted to training and
validation images together, with their own statistics, and tested once. Where an image may show several things there is
a regression of two classes for each, and one penalty for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfarm_trainer.evals.linear import Classifier, Scale, fit
from synfarm_trainer.evals.metrics import eleven_point_map, mean_per_class, top1
from synfarm_trainer.evals.sets.rules import Metric

__all__ = ["Labelled", "LogisticResult", "probe"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_TO_CHOOSE, _TO_TEST = 1e-5, 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """(n, width) features, and labels as of a split."""

    features: Floats
    labels: Ints

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(np.concatenate([self.features, other.features]), np.concatenate([self.labels, other.labels]))


@dataclass(frozen=True, slots=True)
class LogisticResult:
    score: float
    """On the test images, in 0 to 1."""
    penalty: float
    validation: float
    """The score on the validation images, by which the penalty was chosen."""


Fitted = list[Classifier]


def probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    *,
    metric: Metric,
    among: Sequence[float],
    tell: Callable[[str], None] = lambda line: None,
) -> LogisticResult:
    """
    Args:
        among: penalties, weights of half the squared norm beside the sum of cross-entropies.
        tell: takes a line after each penalty.
    """
    scale = Scale.of(train.features)
    x, unseen = scale(train.features), scale(val.features)
    found: Fitted | None = None
    best, chosen = -1.0, among[0]
    # From the heaviest on, each fit beginning with the former; of equally good ones the lightest stays, as the release
    # has it, which goes the other way and replaces by better ones alone.
    for penalty in sorted(among, reverse=True):
        found = _fit(x, train.labels, penalty, found, _TO_CHOOSE)
        score = _score(found, unseen, val.labels, metric)
        tell(f"penalty {penalty:.3g}: {100 * score:.2f} % on validation")
        if score >= best:
            best, chosen = score, penalty
    both = train + val
    scale = Scale.of(both.features)
    last = _fit(scale(both.features), both.labels, chosen, None, _TO_TEST)
    return LogisticResult(_score(last, scale(test.features), test.labels, metric), chosen, best)


def _fit(x: Doubles, labels: Ints, penalty: float, start: Fitted | None, tolerance: float) -> Fitted:
    if labels.ndim == 1:
        return [fit(x, labels, penalty, start[0] if start else None, tolerance=tolerance)]
    # Two softmax classes share the weight between them: with twice the penalty their difference is the regression of
    # one weight vector with the penalty itself.
    columns = [(label == 1).astype(np.int64) for label in labels.T]
    return [
        fit(x, column, 2 * penalty, start[i] if start else None, tolerance=tolerance)
        for i, column in enumerate(columns)
    ]


def _score(found: Fitted, x: Doubles, labels: Ints, metric: Metric) -> float:
    if metric == "map11":
        return eleven_point_map(np.stack([_margin(one, x) for one in found], axis=1), labels)
    predicted = found[0].predict(x)
    return mean_per_class(predicted, labels) if metric == "mean_per_class" else top1(predicted, labels)


def _margin(one: Classifier, x: Doubles) -> Doubles:
    """Of the class 1 over 0; a class that training images show always or never says nothing."""
    if len(one.labels) < 2:
        return np.zeros(len(x))
    weights, biases = one.weights[1] - one.weights[0], one.biases[1] - one.biases[0]
    return np.asarray(x @ weights + biases)
