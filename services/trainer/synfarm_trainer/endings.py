"""How a start of a run ends by an error: the word of its exit record, and what is said beside it."""

from __future__ import annotations

import torch

from synfarm_trainer.checkpoint import Fenced
from synfarm_trainer.data.fetch import DatasetDamaged
from synfarm_trainer.data.manifest import DatasetInvalid
from synfarm_trainer.loop import NonFinite
from synfarm_trainer.peers import tells_of_lost_peer
from synfarm_trainer.refusal import RunRefused

__all__ = ["exit_detail", "exit_reason"]


def exit_reason(error: Exception, *, building: bool = False) -> str:
    """The exit record's word for an error; ``crash`` and ``lost_rank`` are worth another start, the others are not.

    Args:
        building: it came before the first step, where configuration and data are looked at.
    """
    if tells_of_lost_peer(error):
        return "lost_rank"
    if isinstance(error, NonFinite):
        return "nan"
    if isinstance(error, DatasetDamaged | DatasetInvalid):
        return "data"
    if isinstance(error, Fenced):
        return "fenced"
    final = ValueError if building else RunRefused
    return "config" if isinstance(error, final | torch.OutOfMemoryError) else "crash"


def exit_detail(error: Exception) -> str:
    """What the exit record says of an error; a full memory with the fields that ease it."""
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "execution.micro_captions: a pass does not fit into the memory of this rank's device; set fewer captions "
            "(0 is the whole share at once), or execution.recompute to blocks, or start more ranks. "
            f"{error}"
        )
    return f"{error}"
