"""A start that fences the earlier ones itself: pods may be replaced while no service looks."""

from __future__ import annotations

import torch

from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.api.records import RunRecords
from synfarm_trainer.patience import patiently
from synfarm_trainer.ranks import Ranks

__all__ = ["opened_attempt"]


def opened_attempt(store: ObjectStore, run: str, ranks: Ranks) -> int:
    """The number of a new attempt, opened by the first rank, the same on all."""
    number = patiently(RunRecords(store).open_attempt, run).number if ranks.is_first else -1
    return int(ranks.broadcast(torch.tensor([number])).item())
