"""Scores and probes of labelled sets: against slow definitions, and by what would make them cheat."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from synfarm_trainer.evals import logistic
from synfarm_trainer.evals.linear import Scale
from synfarm_trainer.evals.logistic import Labelled, probe
from synfarm_trainer.evals.metrics import eleven_point_map, eleven_points, mean_per_class, top1
from synfarm_trainer.evals.paper import paper_scores
from synfarm_trainer.evals.sgd_probe import SgdPlan, train_probe


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def slow_eleven_points(scores: np.ndarray, shown: np.ndarray) -> float:
    """By a walk down the ranking: precision and recall after each image, then the eleven levels."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    points, right = [], 0
    for rank, row in enumerate(order, start=1):
        right += bool(shown[row])
        points.append((right / shown.sum(), right / rank))
    levels = [max((p for r, p in points if r >= level / 10 - 1e-12), default=0.0) for level in range(11)]
    return sum(levels) / 11


def test_33_average_precision_is_of_eleven_points_and_not_an_area() -> None:
    draw = np.random.default_rng(0)
    for count in (10, 37, 100):
        scores, shown = draw.integers(0, 9, count) / 9.0, draw.random(count) < 0.4
        assert eleven_points(scores, shown) == pytest.approx(slow_eleven_points(scores, shown))
    # Two shown, first and third: precision 1 up to recall .5 (six levels), 2/3 beyond (five). The area is 5/6.
    scores, shown = np.array([3.0, 2.0, 1.0]), np.array([True, False, True])
    assert eleven_points(scores, shown) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert eleven_points(scores, shown) != pytest.approx(5 / 6, abs=1e-3)


def test_33_what_is_difficult_is_a_negative_and_a_class_shown_nowhere_does_not_count() -> None:
    scores = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])
    labels = np.array([[0, -1], [1, -1], [1, -1]])
    ranked_second_and_third = (6 * 2 / 3 + 5 * 2 / 3) / 11
    assert eleven_point_map(scores, labels) == pytest.approx(ranked_second_and_third)
    ignored = eleven_point_map(scores[1:], labels[1:])
    assert ignored == pytest.approx(1.0), "left out, as VOC's devkit has it, it would cost nothing"


def test_33_the_mean_per_class_has_no_0_by_0() -> None:
    predicted, labels = np.array([0, 0, 1, 5]), np.array([0, 0, 1, 1])
    assert top1(predicted, labels) == 0.75
    with np.errstate(all="raise"):
        assert mean_per_class(predicted, labels) == pytest.approx((1 + 0.5) / 2)


def blobs(count: int, classes: int, seed: int, width: int = 6) -> Labelled:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    places = np.random.default_rng(9).normal(size=(classes, width))
    return Labelled((1.2 * places[labels] + draw.normal(size=(count, width))).astype(np.float32), labels)


def test_a_penalty_is_chosen_by_the_sets_own_score_and_the_rest_fitted_together(monkeypatch) -> None:
    sizes: list[tuple[int, float]] = []
    original = logistic.fit

    def spy(features, labels, penalty, *rest, **keywords):
        sizes.append((len(features), penalty))
        assert np.abs(features.mean(axis=0)).max() < 1e-9, "each fit has the statistics of its own images"
        return original(features, labels, penalty, *rest, **keywords)

    monkeypatch.setattr(logistic, "fit", spy)
    parts = blobs(60, 3, 1), blobs(24, 3, 2), blobs(90, 3, 3)
    found = probe(*parts, metric="mean_per_class", among=(0.01, 1.0, 1e5))
    assert sizes == [(60, 1e5), (60, 1.0), (60, 0.01), (84, found.penalty)]
    assert 0.6 < found.score < 1
    shifted = Labelled(parts[2].features * 100 + 7, parts[2].labels)
    assert probe(*parts[:2], shifted, metric="top1", among=(1.0,)).score < found.score, "tests do not scale themselves"


def test_several_classes_an_image_are_regressions_of_one_weight_vector_each() -> None:
    draw = np.random.default_rng(4)
    x = draw.normal(size=(80, 3))
    labels = np.where(x @ draw.normal(size=(3, 2)) + draw.normal(size=(80, 2)) > 0, 1, -1)
    labels[:5] = 0
    fitted = logistic._fit(Scale.of(x)(x), labels, 2.0, None, 1e-10)
    scaled, y = torch.from_numpy(Scale.of(x)(x)), torch.from_numpy((labels[:, 0] == 1).astype(np.float64))
    w, b = (
        torch.zeros(3, dtype=torch.float64, requires_grad=True),
        torch.zeros((), dtype=torch.float64, requires_grad=True),
    )
    solver = torch.optim.LBFGS([w, b], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16)

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = nn.functional.binary_cross_entropy_with_logits(scaled @ w + b, y, reduction="sum") + w.square().sum()
        value.backward()
        return value

    solver.step(loss)
    wanted = (scaled @ w + b).detach().numpy()
    assert logistic._margin(fitted[0], Scale.of(x)(x)) == pytest.approx(wanted, abs=1e-5)
    every = Labelled(x.astype(np.float32), labels)
    assert 0.7 < probe(every, every, every, metric="map11", among=(1.0, 10.0)).score <= 1


def sgd(looks: list[float], monkeypatch: pytest.MonkeyPatch):
    """A probe whose accuracies on the test images are given."""
    from synfarm_trainer.evals import sgd_probe

    left = iter(looks)
    monkeypatch.setattr(sgd_probe, "_accuracies", lambda heads, batches, device: [next(left), 0.1])
    batches = [(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))]
    plan = SgdPlan(epochs=5, batch=4, rates=(0.1, 0.2), look_every=2)
    device = torch.device("cpu")
    return train_probe(
        lambda epoch: batches, list, width=3, classes=2, steps=1, plan=plan, device=device
    )  # fmt: skip


def test_35_the_last_epoch_is_told_apart_from_the_best_that_was_chosen_on_the_test(monkeypatch) -> None:
    found = sgd([0.5, 0.9, 0.7], monkeypatch)
    assert (found.last, found.last_rate) == (0.7, 0.1)
    assert (found.best, found.best_rate, found.best_epoch) == (0.9, 0.1, 4)


def test_each_classifier_of_the_grid_is_plain_sgd_of_its_own_rate() -> None:
    draw = torch.Generator().manual_seed(3)
    x, y = torch.randn(64, 5, generator=draw), torch.arange(64) % 3
    epochs = [[(x[i : i + 32], y[i : i + 32]) for i in (0, 32)] for _ in range(3)]

    def trained(rates: tuple[float, ...]):
        plan = SgdPlan(epochs=3, batch=32, rates=rates, look_every=9)
        arguments = {"width": 5, "classes": 3, "steps": 2, "plan": plan, "device": torch.device("cpu")}
        return train_probe(lambda epoch: epochs[epoch], lambda: [(x, y)], **arguments)

    alone, beside = trained((5.0,)), trained((5.0, 1e-9))
    assert beside.last == alone.last
    assert beside.last_rate == 5.0
    assert alone.last > trained((1e-9,)).last
    state = torch.get_rng_state()
    assert trained((5.0,)) == alone
    assert torch.equal(torch.get_rng_state(), state)


def test_the_papers_averages_are_those_of_its_rows() -> None:
    nine = ("aircraft", "cars", "dtd", "flowers", "pets", "sun397", "caltech101", "food101", "voc2007")
    told = paper_scores(nine)
    averages = {
        "SynCLR B/16": 89.0,
        "SynCLR L/14": 90.4,
        "CLIP B/16": 85.7,
        "DINO v2 L/14": 90.1,
        "OpenCLIP 2B L/14": 89.8,
    }
    for model, average in averages.items():
        assert np.mean(list(told[model].values())) == pytest.approx(average, abs=0.06), model
    unseen = paper_scores(("eurosat", "gtsrb", "country211", "mnist", "resisc45", "kitti"))
    assert np.mean(list(unseen["SynCLR L/14"].values())) == pytest.approx(78.4, abs=0.06)
    assert paper_scores(("imagenet",))["SynCLR B/16"] == {"imagenet": 80.7}
    assert paper_scores(("mine",)) == {}
    assert json.dumps(told)
