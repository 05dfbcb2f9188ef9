"""The published numbers of two ranks, from two real processes that meet once (``tests/oracles``)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import slow_prototypes
import torch

from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses

ORACLES = Path(__file__).parents[2] / "oracles"
CHILD = Path(__file__).with_name("two_ranks.py")
Numbers = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Numbers, Numbers]:
    """What each of both processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    outs = [folder / f"rank{rank}.npz" for rank in (0, 1)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    children = [
        subprocess.Popen(
            [sys.executable, str(CHILD), str(rank), str(folder / "meeting"), str(ORACLES), str(out)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    try:
        errors = [child.communicate(timeout=120)[1] for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], errors
    first, second = (np.load(out, allow_pickle=False) for out in outs)
    return first, second


@pytest.mark.parametrize("temperature", ["0.04", "0.07"])
@pytest.mark.parametrize("rounds", [1, 3, 5])
def test_sinkhorn_over_both_ranks_tokens(ranks: tuple[Numbers, Numbers], temperature: str, rounds: int) -> None:
    given = np.load(ORACLES / "sinkhorn.npz", allow_pickle=False)
    name = f"targets/temp{temperature}/iters{rounds}"
    for rank, found in enumerate(ranks):
        np.testing.assert_allclose(found[name], given[f"world2/rank{rank}/{name}"], rtol=1e-5, atol=1e-5)


def test_sinkhorn_over_class_tokens(ranks: tuple[Numbers, Numbers]) -> None:
    given = np.load(ORACLES / "sinkhorn.npz", allow_pickle=False)
    name = "dino_targets/temp0.07/iters3"
    for rank, found in enumerate(ranks):
        np.testing.assert_allclose(found[name], given[f"world2/rank{rank}/{name}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["plain", "tiles"])
@pytest.mark.parametrize("temperature", ["0.08", "0.1"])
@pytest.mark.parametrize(("dtype", "rtol", "atol"), [("f32", 1e-5, 1e-6), ("f64", 1e-10, 1e-10)])
def test_live_keys_take_the_gradient_of_both_ranks(
    ranks: tuple[Numbers, Numbers], dtype: str, rtol: float, atol: float, temperature: str, form: str
) -> None:
    given = np.load(ORACLES / "multipos_stablerep.npz", allow_pickle=False)
    for rank, found in enumerate(ranks):
        for what in ("loss", "grad"):
            expected = given[f"world2/rank{rank}/{dtype}/T{temperature}/{what}"]
            assert found[f"{form}/{dtype}/T{temperature}/{what}"].dtype == expected.dtype
            np.testing.assert_allclose(found[f"{form}/{dtype}/T{temperature}/{what}"], expected, rtol=rtol, atol=atol)


def test_a_rank_without_tokens_joins_in_and_changes_nothing(ranks: tuple[Numbers, Numbers]) -> None:
    given = np.load(ORACLES / "sinkhorn.npz", allow_pickle=False)
    everything = torch.from_numpy(np.concatenate([given[f"world2/rank{r}/teacher_logits"] for r in (0, 1)]))
    alone = assignment(everything, 0.07, prototype_masses(lambda: [everything], 0.07, 3))
    assert ranks[1]["lopsided"].shape == (0, 24)
    np.testing.assert_allclose(ranks[0]["lopsided"], alone, rtol=1e-5, atol=1e-6)
    center = slow_prototypes.next_center(everything.double(), torch.ones(24), 0.9)
    for found in ranks:
        np.testing.assert_allclose(found["center"], center, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["lopsided_center"], center, rtol=1e-5, atol=1e-6)
