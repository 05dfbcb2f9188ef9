"""Memory and time of the losses that compute twice, beside their plain forms: peak of a process, forward and backward.

Run: ``python benchmarks/bench_losses.py``. Masked patches at a quarter of what 256 images of the paper's ViT-B/16 need
(12,544 tokens, 65,536 prototypes), contrast of 3,136 anchors with the paper's 32,768 keys; float32, one thread. Each
row is a process of its own. The plain form of the first holds 4 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import torch
from torch import Tensor
from torch.nn.functional import normalize

from synfarm_trainer.losses.contrast_tiles import multi_positive_loss_in_tiles
from synfarm_trainer.losses.masked_patches import masked_patch_loss
from synfarm_trainer.losses.multi_positive import multi_positive_loss
from synfarm_trainer.losses.patch_pieces import PatchSide, logit_pieces, masked_patch_loss_in_pieces
from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses

Case = Callable[[int, int, int], Tensor]
WARM, COLD = 0.1, 0.07


def directions(rows: int, width: int, seed: int) -> Tensor:
    return normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def _patches(plain: bool, tokens: int, prototypes: int, width: int) -> Callable[[], Tensor]:
    """Loss and gradients of embeddings, prototypes and gains; the masses are found before, in pieces for both forms."""
    embedded, seen = directions(tokens, width, 0).requires_grad_(), directions(tokens, width, 1)
    rows, theirs = directions(prototypes, width, 2).requires_grad_(), directions(prototypes, width, 3)
    gain = torch.ones(prototypes, 1, requires_grad=True)
    masses = prototype_masses(lambda: logit_pieces(seen, theirs, at_once=2**20), COLD, 1)

    def run() -> Tensor:
        mine = gain * normalize(rows, dim=-1)
        if plain:
            loss = masked_patch_loss(embedded @ mine.T, assignment(seen @ theirs.T, COLD, masses), WARM).mean()
        else:
            student, teacher = PatchSide(embedded, mine, WARM), PatchSide(seen, theirs, COLD)
            loss = masked_patch_loss_in_pieces(student, teacher, masses)[0].mean()
        loss.backward()
        return loss

    return run


def _contrast(plain: bool, count: int, keys: int, width: int) -> Callable[[], Tensor]:
    """Loss and gradients of anchors and live keys."""
    anchors, theirs = directions(count, width, 0).requires_grad_(), directions(keys, width, 1).requires_grad_()
    labels, own = torch.arange(keys) // 4, torch.arange(count)
    form = multi_positive_loss if plain else multi_positive_loss_in_tiles

    def run() -> Tensor:
        loss = form(anchors, theirs, labels[:count], labels, own, 0.08).mean()
        loss.backward()
        return loss

    return run


_CASES = {"masked patches": _patches, "contrast": _contrast}


def _child(case: str, plain: bool, sizes: list[int]) -> None:
    torch.set_num_threads(1)
    _CASES[case](plain, 8, 16, 4)()
    run = _CASES[case](plain, *sizes)
    before, started = psutil.Process().memory_info().rss, time.process_time()
    loss = run()
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    row = {"loss": loss.item(), "seconds": seconds, "megabytes": (peak - before) / 1e6}
    sys.stdout.write(json.dumps(row))


def _measure(case: str, plain: bool, sizes: list[int]) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", case, *(["--plain"] if plain else []), "--sizes", *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, nargs=3, default=[3_136, 65_536, 256], help="tokens, prototypes, width")
    parser.add_argument("--contrast", type=int, nargs=3, default=[3_136, 32_768, 256], help="anchors, keys, width")
    parser.add_argument("--child", choices=list(_CASES), help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        _child(chosen.child, chosen.plain, chosen.sizes)
        return
    sys.stdout.write(
        f"{'':<16}{'rows':>8}{'columns':>9}  {'form':<10}{'peak':>10}{'ratio':>8}{'CPU':>9}{'ratio':>8}  loss\n"
    )
    for case, sizes in (("masked patches", chosen.patches), ("contrast", chosen.contrast)):
        plain, twice = (_measure(case, form, sizes) for form in (True, False))
        for name, row in (("plain", plain), ("twice", twice)):
            sys.stdout.write(
                f"{case:<16}{sizes[0]:>8,}{sizes[1]:>9,}  {name:<10}{row['megabytes']:>7.0f} MB"
                f"{row['megabytes'] / plain['megabytes']:>8.3f}{row['seconds']:>7.1f} s"
                f"{row['seconds'] / plain['seconds']:>8.2f}  {row['loss']:.6f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
