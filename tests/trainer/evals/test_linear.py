"""The linear probe against plain Newton, and what makes a probe cheat or break."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synfarm_trainer.evals import linear
from synfarm_trainer.evals.linear import Scale, evaluate, fit, penalties

KEYWORDS = {"among": (100.0, 1.0, 0.01), "resamples": 50, "seed": 0}


@pytest.fixture(autouse=True)
def _one_thread():
    """Many small fits: threads that wait for each other on a busy machine take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def newton(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (classes, width) and biases of the same minimum, by full Newton steps on the dense Hessian."""
    count, classes = len(x), int(y.max()) + 1
    wide = np.concatenate([x, np.ones((count, 1))], axis=1)
    width = wide.shape[1]
    ridge = np.tile(np.r_[np.full(width - 1, penalty), 0.0], classes)
    theta = np.zeros(classes * width)
    for _ in range(30):
        logits = wide @ theta.reshape(classes, width).T
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        slope = ((p - np.eye(classes)[y]).T @ wide).reshape(-1) + ridge * theta
        pairs = np.einsum("nk,kl->nkl", p, np.eye(classes)) - p[:, :, None] * p[:, None, :]
        curvature = np.einsum("nkl,ni,nj->kilj", pairs, wide, wide).reshape(len(theta), len(theta)) + np.diag(ridge)
        # All biases may move together: the least-norm step leaves that direction alone.
        theta -= np.linalg.lstsq(curvature, slope, rcond=1e-12)[0]
    found = theta.reshape(classes, width)
    return found[:, :-1], found[:, -1] - found[:, -1].mean()


def blobs(captions: int, classes: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four images of each caption around its concept's place, as float32; labels; captions."""
    rng = np.random.default_rng([seed, width])
    caption = np.repeat(np.arange(captions), 4)
    places = np.random.default_rng(width).normal(size=(classes, width))
    x = places[caption % classes] + rng.normal(size=(len(caption), width))
    return x.astype(np.float32), caption % classes, caption


@pytest.mark.parametrize("penalty", [0.05, 3.0, 400.0])
def test_the_minimum_is_that_of_plain_newton(penalty: float) -> None:
    x, y, _ = blobs(captions=30, classes=3, width=4, seed=1)
    # Nearly dependent and unlike in size, as features are.
    x = Scale.of(x)(x) @ np.array([[1, 1, 0, 0], [0, 0.01, 0, 2], [0, 0, 0.3, 0], [0, 0, 0.3, 1e-3]])
    weights, biases = newton(x, y, penalty)
    found = fit(x, y, penalty, tolerance=1e-10)
    assert found.weights == pytest.approx(weights, abs=1e-6)
    assert found.biases - found.biases.mean() == pytest.approx(biases, abs=1e-6)
    again = fit(x, y, penalty, fit(x, y, 50.0), tolerance=1e-10)
    assert again.weights == pytest.approx(weights, abs=1e-6), "wherever it begins"


def test_a_constant_feature_says_nothing_even_where_it_is_not_constant() -> None:
    x, y, captions = blobs(captions=40, classes=4, width=6, seed=1)
    unseen, labels, of = blobs(captions=20, classes=4, width=6, seed=2)
    plain = evaluate(x, y, captions, unseen, labels, of, **KEYWORDS)
    assert plain.top1 > 0.6
    constant = np.full((len(x), 2), [0.1, 0.0], dtype=np.float32)
    wild = np.random.default_rng(0).normal(size=(len(unseen), 2)).astype(np.float32) * 1000
    more = evaluate(np.hstack([x, constant]), y, captions, np.hstack([unseen, wild]), labels, of, **KEYWORDS)
    assert more == plain


def test_the_scale_is_that_of_the_images_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[np.ndarray] = []
    original = linear.fit

    def spy(features, labels, *rest, **keywords):
        fitted.append(features)
        return original(features, labels, *rest, **keywords)

    monkeypatch.setattr(linear, "fit", spy)
    x, y, captions = blobs(captions=40, classes=4, width=6, seed=1)
    evaluate(x, y, captions, x[:40] * 100 + 7, y[:40], captions[:40], **KEYWORDS)
    assert [len(features) for features in fitted] == 3 * [128] + [160], "a fifth of 40 captions chooses, all refit"
    for features in fitted:
        assert features.mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-9)
        assert features.std(axis=0) == pytest.approx(np.ones(6))


def test_captions_choose_the_penalty_with_all_their_images() -> None:
    captions = np.repeat(np.arange(10), 3)
    held = linear._validation(captions, 3)
    assert held.sum() == 6
    assert {held[captions == caption].sum() for caption in range(10)} == {0, 3}
    assert linear._validation(np.array([4, 4, 9]), 0).sum() in (1, 2), "of two captions one stays to be fitted to"
    with pytest.raises(ValueError, match=r"eval\.linear: .* two captions"):
        evaluate(np.eye(2), np.arange(2), np.zeros(2), np.eye(2), np.arange(2), np.arange(2), **KEYWORDS)


def test_of_equally_good_penalties_the_lightest_is_taken() -> None:
    x, y, captions = blobs(captions=40, classes=2, width=8, seed=1)
    x[:, 0] = 100 * y + np.arange(len(y)) % 3
    told = evaluate(x, y, captions, x, y, captions, **KEYWORDS)
    assert (told.top1, told.validation_top1) == (1.0, 1.0)
    assert told.penalty == 0.01
    assert penalties(45)[::44] == pytest.approx((1e5, 1e-6))


def test_classes_may_be_missing_on_either_side() -> None:
    x, y, captions = blobs(captions=60, classes=6, width=8, seed=1)
    unseen, labels, of = blobs(captions=30, classes=6, width=8, seed=2)
    whole = evaluate(x, y, captions, unseen, labels, of, **KEYWORDS)
    few = np.isin(labels, [1, 4])
    part = evaluate(x, y, captions, unseen[few], labels[few], of[few], **KEYWORDS)
    assert part.mean_per_class == pytest.approx(part.top1), "equally many of two concepts; no 0/0 of the other four"
    assert abs(part.mean_per_class - whole.mean_per_class) < 0.3
    known = y != 2
    blind = evaluate(x[known], y[known], captions[known], unseen, labels, of, **KEYWORDS)
    assert 0.3 < blind.top1 <= 5 / 6


def test_the_standard_error_counts_captions_and_not_images() -> None:
    right = np.repeat(np.arange(50) % 2, 4)
    x = np.eye(2, dtype=np.float32)[np.arange(40) % 2]
    told = evaluate(
        x,
        np.arange(40) % 2,
        np.arange(40),
        np.eye(2, dtype=np.float32)[right],
        0 * right,
        np.arange(200) // 4,
        **{**KEYWORDS, "resamples": 400},
    )
    assert told.top1 == 0.5
    assert told.standard_error == pytest.approx((0.25 / 50) ** 0.5, rel=0.2)
