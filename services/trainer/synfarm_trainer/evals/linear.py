"""The linear probe: multinomial logistic regression on frozen features (method section 5.2; paper, appendix B.5).

Solved by torch's L-BFGS in float64: convex, so the same answer from any start; the release solves it on a GPU with
another library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from synfarm_trainer.evals.bootstrap import standard_error
from synfarm_trainer.refusal import RunRefused

__all__ = ["Classifier", "LinearResult", "Scale", "evaluate", "fit", "penalties"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

_VALIDATION = 0.2
"""Share of the training captions on which the penalty is chosen."""
_ITERATIONS = 1000
_TOLERANCE, _TO_CHOOSE = 1e-6, 1e-5
"""Largest slope of the mean cross-entropy at which a fit is done; that of the fits which only choose a penalty."""


def penalties(count: int) -> tuple[float, ...]:
    """Weights of half the squared norm beside the sum of cross-entropies, from 1e5 to 1e-6; the release has 45."""
    return tuple(np.logspace(5, -6, count).tolist())


@dataclass(frozen=True, slots=True)
class LinearResult:
    top1: float
    """Share of test images whose concept is named, in 0 to 1."""
    standard_error: float
    mean_per_class: float
    """Mean over the concepts that the test images show, of the share of each one's images."""
    penalty: float
    """The one that was chosen."""
    validation_top1: float
    """With it, on the captions that chose it."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and deviation of the images that a classifier is fitted to, and of no others."""

    mean: Doubles
    factor: Doubles

    @classmethod
    def of(cls, features: Floats) -> Scale:
        """Over rows; a feature that is constant in them gets factor 0, so that it says nothing anywhere."""
        wide = features.astype(np.float64)
        mean, std = wide.mean(axis=0), wide.std(axis=0)
        # The mean of equal numbers need not be that number: what is left of a constant is rounding.
        varies = std > 1e-9 * np.maximum(np.abs(mean), 1e-3)
        return cls(mean, np.divide(1.0, std, out=np.zeros_like(std), where=varies))

    def __call__(self, features: Floats) -> Doubles:
        return np.asarray((features.astype(np.float64) - self.mean) * self.factor)


@dataclass(frozen=True, eq=False, slots=True)
class Classifier:
    """Of ``labels``, those of the images it was fitted to; it never names another."""

    labels: Ints
    weights: Doubles
    """(labels, width)."""
    biases: Doubles

    def predict(self, features: Doubles) -> Ints:
        """(n,) labels of scaled features."""
        return np.asarray(self.labels[(features @ self.weights.T + self.biases).argmax(axis=1)])


def fit(
    features: Doubles,
    labels: Ints,
    penalty: float,
    start: Classifier | None = None,
    *,
    tolerance: float = _TOLERANCE,
) -> Classifier:
    """The classifier with the least sum of cross-entropies plus ``penalty`` / 2 times its weights' squared norm.

    Args:
        features: (n, width), scaled.
        start: of the same labels; where to begin, for speed.
    """
    known, places = np.unique(labels, return_inverse=True)
    count, width = features.shape
    # The same problem in other variables, in which it is about as steep in all directions: features of a network are
    # nearly dependent, and plain steps would be a hundred times as many.
    spread, axes = np.linalg.eigh(features.T @ features / count)
    stretch = np.sqrt(np.maximum(spread, 0.0) / len(known) + penalty / count)
    x, y = torch.from_numpy(features @ axes / stretch), torch.from_numpy(places)
    share = torch.from_numpy(penalty / count / stretch**2)
    begin = Classifier(known, np.zeros((len(known), width)), np.zeros(len(known))) if start is None else start
    weights = torch.from_numpy(np.ascontiguousarray(begin.weights @ axes * stretch)).requires_grad_()
    biases = torch.tensor(begin.biases, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weights, biases],
        max_iter=_ITERATIONS,
        tolerance_grad=tolerance,
        tolerance_change=1e-4 * tolerance,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        solver.zero_grad()
        # Over n, so that tolerances mean the same for few images and many.
        value = cross_entropy(x @ weights.T + biases, y) + (share * weights.square()).sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return Classifier(known, (weights.detach().numpy() / stretch) @ axes.T, biases.detach().numpy())


def _validation(captions: Ints, seed: int) -> NDArray[np.bool_]:
    """(n,) whether an image's caption, with all its images, is among those that choose the penalty."""
    known = np.unique(captions)
    count = min(max(1, round(_VALIDATION * len(known))), len(known) - 1)
    return np.isin(captions, np.random.default_rng(seed).permutation(known)[:count])


def _choose(features: Floats, labels: Ints, held: NDArray[np.bool_], among: Sequence[float]) -> tuple[float, float]:
    """(penalty, accuracy on the held rows); of equally good penalties the lightest, as in the release."""
    scale = Scale.of(features[~held])
    x, unseen = scale(features[~held]), scale(features[held])
    found: Classifier | None = None
    best, chosen = -1.0, among[0]
    for penalty in sorted(among, reverse=True):
        found = fit(x, labels[~held], penalty, found, tolerance=_TO_CHOOSE)
        accuracy = float((found.predict(unseen) == labels[held]).mean())
        if accuracy >= best:
            best, chosen = accuracy, penalty
    return chosen, best


def evaluate(
    train: Floats,
    train_labels: Ints,
    train_captions: Ints,
    test: Floats,
    test_labels: Ints,
    test_captions: Ints,
    *,
    among: Sequence[float],
    resamples: int,
    seed: int,
) -> LinearResult:
    """Choose the penalty on a fifth of the training captions, fit to all of them with their own scale, test once.

    Args:
        train, test: (n, width) features, as the backbone gives them.
        train_captions, test_captions: (n,) which caption each image is of.
        among: penalties.

    Raises:
        RunRefused: the training images are all of one caption.
    """
    if train_captions.min() == train_captions.max():
        raise RunRefused("eval.linear: needs training images of at least two captions")
    penalty, validated = _choose(train, train_labels, _validation(train_captions, seed), among)
    scale = Scale.of(train)
    right = fit(scale(train), train_labels, penalty).predict(scale(test)) == test_labels
    of_class = [float(right[test_labels == label].mean()) for label in np.unique(test_labels)]
    return LinearResult(
        top1=float(right.mean()),
        standard_error=standard_error(right, test_captions, resamples=resamples, seed=seed),
        mean_per_class=float(np.mean(of_class)),
        penalty=penalty,
        validation_top1=validated,
    )
