"""Sinkhorn's targets against a slow reference, against numbers of the published code, and shared among ranks."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from slow_prototypes import sinkhorn as slow

from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses

PUBLISHED = np.load(Path(__file__).parents[2] / "oracles" / "sinkhorn.npz", allow_pickle=False)


def sinkhorn(logits, temperature, rounds, gather=lambda rows: rows, cuts=()) -> torch.Tensor:
    """Targets of a rank's tokens, which are cut into pieces."""
    masses = prototype_masses(lambda: logits.tensor_split(cuts), temperature, rounds, gather)
    return torch.cat([assignment(piece, temperature, masses) for piece in logits.tensor_split(cuts)])


def draw(tokens: int, prototypes: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(tokens, prototypes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 3


def shared(parts: list[torch.Tensor], temperature: float, rounds: int) -> list[torch.Tensor]:
    """As so many ranks would compute it, each in a thread of its own."""
    meeting = threading.Barrier(len(parts))
    told: list[torch.Tensor | None] = [None] * len(parts)
    found: list[torch.Tensor | None] = [None] * len(parts)

    def rank(number: int) -> None:
        def gather(rows: torch.Tensor) -> torch.Tensor:
            told[number] = rows
            meeting.wait(30)
            everything = torch.cat([rows for rows in told if rows is not None])
            meeting.wait(30)
            return everything

        found[number] = sinkhorn(parts[number], temperature, rounds, gather)

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [rows for rows in found if rows is not None]


@pytest.mark.parametrize("rounds", [1, 3, 5])
@pytest.mark.parametrize("temperature", [0.04, 0.07, 1.0])
def test_it_equals_the_slow_reference(temperature: float, rounds: int) -> None:
    logits = draw(17, 6)
    assert sinkhorn(logits, temperature, rounds).flatten().tolist() == pytest.approx(
        [value for token in slow(logits, temperature, rounds) for value in token], rel=1e-10, abs=1e-14
    )


@pytest.mark.parametrize("temperature", ["0.04", "0.07"])
@pytest.mark.parametrize("rounds", [1, 3, 5])
def test_the_published_targets(temperature: str, rounds: int) -> None:
    """Of one rank; of two ranks that share them as threads here, and as processes in ``test_two_ranks.py``."""

    def number(rank: str, name: str) -> torch.Tensor:
        return torch.from_numpy(PUBLISHED[f"{rank}/{name}"])

    name = f"targets/temp{temperature}/iters{rounds}"
    alone = number("world1/rank0", "teacher_logits")
    found = [sinkhorn(alone, float(temperature), rounds)]
    found += shared([number(f"world2/rank{rank}", "teacher_logits") for rank in (0, 1)], float(temperature), rounds)
    for rank, targets in zip(("world1/rank0", "world2/rank0", "world2/rank1"), found, strict=True):
        torch.testing.assert_close(targets, number(rank, name), rtol=1e-5, atol=1e-5)
        assert number(rank, "student_logits").shape == targets.shape


def test_the_published_targets_of_class_tokens() -> None:
    logits = torch.from_numpy(PUBLISHED["world1/rank0/teacher_logits"])[:8]
    expected = torch.from_numpy(PUBLISHED["world1/rank0/dino_targets/temp0.07/iters3"])
    torch.testing.assert_close(sinkhorn(logits, 0.07, 3), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(10, 14), (24, 0), (5, 7, 12)])
def test_ranks_share_what_one_would_compute_alone(sizes: tuple[int, ...]) -> None:
    logits = draw(24, 8, seed=1)
    together = torch.cat(shared(list(logits.split(sizes)), 0.05, 3))
    assert torch.allclose(together, sinkhorn(logits, 0.05, 3), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("cuts", [(1,), (5, 5, 20), (0, 24)])
def test_pieces_give_what_the_whole_gives(cuts: tuple[int, ...]) -> None:
    logits = draw(24, 8, seed=1)
    pieces = sinkhorn(logits, 0.05, 3, cuts=cuts)
    assert torch.allclose(pieces, sinkhorn(logits, 0.05, 3), rtol=1e-12, atol=1e-15)


def test_tokens_become_distributions_and_prototypes_share_the_mass() -> None:
    logits = draw(400, 10, seed=2)
    before = logits.clone()
    targets = sinkhorn(logits, 0.07, 10)
    assert torch.allclose(targets.sum(dim=1), torch.ones(400, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(targets.sum(dim=0), torch.full((10,), 40.0, dtype=torch.float64), rtol=0.05)
    assert torch.equal(logits, before), "the input is not touched"


def test_a_large_gain_stays_in_the_range_of_float32() -> None:
    logits = 50 * draw(40, 12, seed=3)
    targets = sinkhorn(logits.float(), 0.04, 3)
    assert targets.isfinite().all()
    exact = sinkhorn(logits, 0.04, 3)
    assert torch.allclose(targets.double(), exact, atol=1e-2)
    half = sinkhorn(draw(40, 12).bfloat16(), 0.07, 3)
    assert half.dtype == torch.float32


def test_features_that_have_collapsed_get_targets_without_information() -> None:
    targets = sinkhorn(draw(1, 8).expand(30, 8), 0.04, 3)
    assert torch.allclose(targets, torch.full_like(targets, 1 / 8), atol=1e-12)
