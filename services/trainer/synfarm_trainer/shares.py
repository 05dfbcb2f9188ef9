"""Which tensors of a run's state each rank uploads, and what the files of a checkpoint are called.

Every rank holds the whole state, so any of them may write any tensor, and whoever reads takes all files together: at
another number of ranks nothing has to be cut anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

__all__ = ["COUNTERS", "PARTS", "file_of", "part_of", "share_of"]

PARTS = ("student", "teacher", "optimizer")
"""Of a state; a tensor's name begins with its part's and a dot."""
COUNTERS = "state.json"
"""The file of what is no tensor."""
_FILE = re.compile(r"([a-z]+)(?:-[0-9]{5}-of-[0-9]{5})?\.safetensors")


def share_of(state: Mapping[str, Tensor], rank: int, world: int) -> dict[str, Tensor]:
    """This rank's tensors: the largest first, each to the rank that has the fewest bytes, of equals the first.

    Pure, so that ranks need not talk: the same state gives the same shares, and every tensor is in one of them.
    """
    loads = [0] * world
    mine: dict[str, Tensor] = {}
    for name in sorted(state, key=lambda name: (-state[name].nbytes, name)):
        taker = min(range(world), key=loads.__getitem__)
        loads[taker] += state[name].nbytes
        if taker == rank:
            mine[name] = state[name]
    return mine


def file_of(part: str, rank: int, world: int) -> str:
    """``<part>.safetensors`` where one rank has it all, as older checkpoints have it at any number of ranks."""
    return f"{part}.safetensors" if world == 1 else f"{part}-{rank:05d}-of-{world:05d}.safetensors"


def part_of(part: str, names: Iterable[str]) -> list[str]:
    """The files that together are a part, in order."""
    return sorted(name for name in names if (found := _FILE.fullmatch(name)) and found[1] == part)
