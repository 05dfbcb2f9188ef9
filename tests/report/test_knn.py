"""k-NN in words: what is said follows from the numbers and their errors, also where it is no praise."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.knn import knn_history
from synfarm.report.knn import dots, verdicts


def history(before: tuple[float, float] | None, after: tuple[float, float], **floors: tuple[float, float]) -> Any:
    def record(pair: tuple[float, float], **more: Any) -> dict[str, Any]:
        return {"knn": {"top1": pair[0], "standard_error": pair[1], **more}}

    named = {name: {"top1": top1, "standard_error": error} for name, (top1, error) in floors.items()}
    evals = {"200": record(after, floors=named, classes=48)}
    if before is not None:
        evals["0"] = record(before)
    found = knn_history(evals)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("before", "after", "mood", "words"),
    [
        ((0.06, 0.01), (0.16, 0.02), "good", "has learnt"),
        ((0.10, 0.02), (0.12, 0.02), "open", "too little to tell from chance"),
        ((0.20, 0.01), (0.10, 0.01), "bad", "worse than the untrained one"),
        ((0.10, 0.0), (0.20, 0.0), "good", "no error was estimated"),
        ((0.10, 0.0), (0.10, 0.0), "open", "+0.0 points"),
    ],
)
def test_the_gain_from_training(before: Any, after: Any, mood: str, words: str) -> None:
    (verdict,) = verdicts(history(before, after))
    assert verdict.mood == mood
    assert words in verdict.text


@pytest.mark.parametrize(
    ("floor", "mood", "words"),
    [
        (
            (0.30, 0.02),
            "bad",
            "below raw pixels: 15.0 % ± 2.0 against 30.0 % ± 2.0 (−15.0 points, 5.3 standard errors)",
        ),
        ((0.17, 0.02), "open", "below raw pixels"),
        ((0.17, 0.02), "open", "cannot be told apart"),
        ((0.13, 0.02), "open", "above raw pixels"),
        ((0.05, 0.01), "good", "above raw pixels"),
        ((0.15, 0.02), "open", "level with raw pixels"),
    ],
)
def test_beside_a_floor(floor: tuple[float, float], mood: str, words: str) -> None:
    (verdict,) = verdicts(history(None, (0.15, 0.02), raw_pixels=floor))
    assert verdict.mood == mood
    assert words in verdict.text.replace("\u202f", " ")


def test_an_untrained_network_alone_is_no_result() -> None:
    found = knn_history({"0": {"knn": {"top1": 0.1, "standard_error": 0.01}}})
    assert found is not None
    assert [verdict.mood for verdict in verdicts(found)] == ["open"]


def test_rows_are_networks_then_floors_then_chance() -> None:
    found = history((0.06, 0.01), (0.16, 0.02), raw_pixels=(0.2, 0.02), colour_histogram=(0.1, 0.02))
    rows = [(dot.label, dot.kind) for dot in dots(found)]
    assert rows == [
        ("untrained network", "init"),
        ("after step 200", "network"),
        ("raw pixels", "floor"),
        ("colour histogram", "floor"),
        ("chance", "floor"),
    ]
    assert dots(found)[-1].value == pytest.approx(100 / 48)


def test_a_long_history_shows_its_ends() -> None:
    evals: dict[str, Any] = {str(step): {"knn": {"top1": 0.1, "standard_error": 0.01}} for step in range(0, 1000, 10)}
    found = knn_history(evals)
    assert found is not None
    labels = [dot.label for dot in dots(found)]
    assert len(labels) == 6
    assert labels[0] == "untrained network"
    assert labels[-1] == "after step 990"


@pytest.mark.parametrize(
    "evals",
    [
        {},
        {"0": None},
        {"0": {"other": {}}},
        {"x": {"knn": {"top1": 0.1, "standard_error": 0.1}}},
        {"²": {"knn": {"top1": 0.1, "standard_error": 0.1}}},
        {"0": {"knn": {"top1": "much", "standard_error": 0.1}}},
        {"0": {"knn": {"top1": float("nan"), "standard_error": 0.1}}},
        {"0": {"knn": {"top1": 0.1, "standard_error": -1}}},
    ],
)
def test_what_is_no_record_is_left_out(evals: dict[str, Any]) -> None:
    assert knn_history(evals) is None
