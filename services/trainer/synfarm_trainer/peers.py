"""Whether an error of one rank tells that another one is gone."""

from __future__ import annotations

import torch.distributed as dist

__all__ = ["tells_of_lost_peer"]

_WORDS = ("connection closed by peer", "connection reset by peer", "connection refused", "broken pipe", "gloo", "nccl")
"""gloo raises RuntimeError without a class of its own."""


def tells_of_lost_peer(error: BaseException) -> bool:
    """True of errors that collectives and the ranks' store raise when the other side went away."""
    if isinstance(error, dist.DistError):
        return True
    words = str(error).lower()
    return type(error) is RuntimeError and any(word in words for word in _WORDS)
