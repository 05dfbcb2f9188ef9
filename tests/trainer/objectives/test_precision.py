"""Networks in bfloat16: losses near those of float32, and everything that is kept in float32 (pitfall 28)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cuts import ALL_ON, CAPTIONS, made
from real_ranks import batch_of
from test_real_ranks import OBJECTIVE_CASES

from synfarm_trainer.autocast import compute_in_bfloat16
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.objectives.protocol import Objective, StepTerms
from synfarm_trainer.optim import build_optimizer
from synfarm_trainer.ranks import Ranks


def step(config: TrainConfig, masks: str, *, half: bool) -> tuple[Objective, StepTerms, set[torch.dtype]]:
    """One step's gradient, and the precision in which matrices were multiplied in the backbone of the student."""
    objective: Any = made(config)
    networks = [network for network in (objective.student, objective.teacher) if network is not None]
    products: set[torch.dtype] = set()
    for network in networks:
        network.float()
        if half:
            compute_in_bfloat16(network, torch.device("cpu"))
        for block in network.backbone.blocks:
            block.mlp.fc1.register_forward_hook(lambda part, given, found: products.add(found.dtype))
    batch = batch_of(config, "one twice", masks)
    micro = CAPTIONS // 2 * config.crops_of_caption
    return objective, objective.accumulate_gradients(batch, Ranks(), step=0, micro_crops=micro), products


@pytest.mark.parametrize("name", ["synclr", "stablerep", "mae", "ibot", "dinov2", "clip", "supce", "moco_v3"])
def test_losses_agree_and_gradients_moments_and_averages_are_float32(
    small_config: Callable[..., TrainConfig], name: str
) -> None:
    config = small_config({**ALL_ON, "objective.name": name, **OBJECTIVE_CASES[name]})
    masks = "by cells" if name == "mae" else "uneven"
    _, exact, products = step(config, masks, half=False)
    assert products == {torch.float32}
    objective, rounded, products = step(config, masks, half=True)
    assert products == {torch.bfloat16}
    assert rounded.losses.keys() == exact.losses.keys()
    for term, loss in exact.losses.items():
        # KoLeo is a logarithm near zero: a share of it says little.
        assert float(rounded.losses[term]) == pytest.approx(float(loss), rel=1e-2, abs=5e-3), term
        assert float(rounded.losses[term]) != float(loss), "the networks are of less precision"
    optimizer = build_optimizer(objective.student, config.optim)
    moving = [p for p in objective.student.parameters() if p.requires_grad]
    assert {p.grad.dtype for p in moving if p.grad is not None} == {torch.float32}
    optimizer.step()
    kept = [slot for p in moving for slot in optimizer.state[p].values()]
    networks = [network for network in (objective.student, objective.teacher) if network is not None]
    kept += [tensor for network in networks for tensor in network.state_dict().values()]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
