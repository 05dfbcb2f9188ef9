"""The option of heads of prototypes to stand still in the first share of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cuts import ALL_ON, draw_batch, gradient, uneven_masks

from synfarm_trainer.config import TrainConfig

SYNCLR: dict[str, object] = {"objective.ibot_weight": 1.0, "objective.patch_bottleneck": 8}
DINOV2: dict[str, object] = {"objective.name": "dinov2", "data.crops": 2, "objective.prototype_bottleneck": 8}


@pytest.mark.parametrize(
    ("overrides", "heads"),
    [(SYNCLR, ("patch_head",)), (DINOV2, ("class_head", "own_patch_head"))],
    ids=["synclr", "dinov2"],
)
def test_prototypes_and_learned_gains_take_no_gradient_until_then(
    small_config: Callable[..., TrainConfig], on_ranks: Any, overrides: dict[str, object], heads: tuple[str, ...]
) -> None:
    config = small_config(
        {**ALL_ON, **overrides, "objective.prototypes": 6, "objective.last_layer_frozen": 0.5, "schedule.steps": 12}
    )
    batch = draw_batch(config, uneven_masks(config))
    early, late = (gradient(on_ranks, config, batch, step=step).gradient for step in (5, 6))
    assert set(late) - set(early) == {f"{head}.{part}" for head in heads for part in ("prototypes", "gain")}
    assert all(float(late[name].abs().max()) > 0 for name in late)


@pytest.mark.parametrize(
    ("overrides", "head"), [(SYNCLR, "patch_head"), (DINOV2, "class_head")], ids=["synclr", "dinov2"]
)
def test_gains_that_are_not_learned_stay_one(
    small_config: Callable[..., TrainConfig], on_ranks: Any, overrides: dict[str, object], head: str
) -> None:
    settings = {**ALL_ON, **overrides, "objective.prototypes": 6, "schedule.steps": 12}
    found = {}
    for train_gain in (True, False):
        config = small_config({**settings, "objective.train_gain": train_gain})
        found[train_gain] = set(gradient(on_ranks, config, draw_batch(config, uneven_masks(config)), step=6).gradient)
    assert f"{head}.prototypes" in found[False]
    assert {name for name in found[True] - found[False] if name.startswith(head)} == {f"{head}.gain"}
