"""Heads against numbers of the published code (``tests/oracles``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from synfarm_trainer.models.heads import PatchHead, mlp_head

PUBLISHED = np.load(Path(__file__).parents[2] / "oracles" / "heads.npz", allow_pickle=False)


def numbers(prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(f"{prefix}/"): torch.from_numpy(PUBLISHED[name])
        for name in PUBLISHED.files
        if name.startswith(f"{prefix}/")
    }


def test_the_patch_head_gives_the_published_logits() -> None:
    found = numbers("dino")
    head = PatchHead(16, 24, 8, 20)
    weights = {
        f"mlp.{layer}": found[f"mlp.{layer}"] for layer in (f"{i}.{w}" for i in (0, 2, 4) for w in ("weight", "bias"))
    }
    head.load_state_dict({**weights, "gain": found["last_layer.weight_g"], "prototypes": found["last_layer.weight_v"]})
    assert torch.allclose(head(found["in"]), found["out"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "hidden_layers"), [("proj", 2), ("pred", 1)])
def test_projector_and_predictor_give_the_published_outputs(name: str, hidden_layers: int) -> None:
    found = numbers(name)
    head = mlp_head(found["in"].shape[1], 24, 12, hidden_layers=hidden_layers)
    head.load_state_dict({key.removeprefix("mlp."): found[key] for key in found if key.startswith("mlp.")})
    assert torch.allclose(head(found["in"]), found["out"], rtol=1e-5, atol=1e-6)
