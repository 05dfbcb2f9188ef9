"""One of two processes that are joined by gloo: every number that needs two ranks, written to a file.

Run by ``test_two_ranks.py``: ``python two_ranks.py RANK MEETING ORACLES OUT``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import normalize

from synfarm_trainer.losses.centering import next_center
from synfarm_trainer.losses.contrast_tiles import multi_positive_loss_in_tiles
from synfarm_trainer.losses.multi_positive import multi_positive_loss
from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses
from synfarm_trainer.ranks import Ranks

FORMS = {"plain": multi_positive_loss, "tiles": multi_positive_loss_in_tiles}


def sinkhorn(logits: Tensor, temperature: float, rounds: int, ranks: Ranks) -> Tensor:
    masses = prototype_masses(lambda: [logits], temperature, rounds, ranks.gather)
    return assignment(logits, temperature, masses)


def live_contrast(feats: Tensor, labels: Tensor, temperature: float, form: str, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """This rank's loss, and the gradient of its features from the losses of all ranks."""
    feats = feats.clone().requires_grad_()
    mine = normalize(feats, dim=-1)
    everyone, all_labels = ranks.gather(mine).requires_grad_(), ranks.gather(labels)
    own = torch.arange(len(feats)) + ranks.rank * len(feats)
    loss = FORMS[form](everyone[own], everyone, labels, all_labels, own, temperature).mean()
    loss.backward()
    total = ranks.gather(everyone.grad[None]).sum(dim=0)
    mine.backward(total[own])
    return loss.detach(), feats.grad


def main(ranks: Ranks, oracles: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    given = np.load(oracles / "sinkhorn.npz", allow_pickle=False)
    logits = torch.from_numpy(given[f"world2/rank{ranks.rank}/teacher_logits"])
    for temperature in ("0.04", "0.07"):
        for rounds in (1, 3, 5):
            targets = sinkhorn(logits, float(temperature), rounds, ranks)
            found[f"targets/temp{temperature}/iters{rounds}"] = targets
    found["dino_targets/temp0.07/iters3"] = sinkhorn(logits[:8], 0.07, 3, ranks)
    # Rank 0 has every token, rank 1 has none.
    everything = torch.from_numpy(np.concatenate([given[f"world2/rank{r}/teacher_logits"] for r in (0, 1)]))
    lopsided = everything[: 24 * (1 - ranks.rank)]
    found["lopsided"] = sinkhorn(lopsided, 0.07, 3, ranks)
    found["center"] = next_center(logits, torch.ones(24), 0.9, ranks.gather)
    found["lopsided_center"] = next_center(lopsided, torch.ones(24), 0.9, ranks.gather)
    given = np.load(oracles / "multipos_stablerep.npz", allow_pickle=False)
    feats, labels = (torch.from_numpy(given[f"in/rank{ranks.rank}/{name}"]) for name in ("feats", "labels"))
    for name, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        for temperature in ("0.08", "0.1"):
            for form in FORMS:
                loss, grad = live_contrast(feats.to(dtype), labels, float(temperature), form, ranks)
                found[f"{form}/{name}/T{temperature}/loss"], found[f"{form}/{name}/T{temperature}/grad"] = loss, grad
    return found


if __name__ == "__main__":
    rank, meeting, oracles, out = sys.argv[1:]
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=int(rank), world_size=2)
    try:
        numbers = main(Ranks(int(rank), 2), Path(oracles))
        np.savez(out, **{name: tensor.numpy() for name, tensor in numbers.items()})
        dist.barrier()
    finally:
        dist.destroy_process_group()
