"""Who takes part in ``bench_loader.py``, and what its table says of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["OURS", "PLAIN", "SIDES", "Side"]

OURS, PLAIN = "synfarm", "synfarm, plain"
_TENSORS = "tensors, bytes"


@dataclass(frozen=True)
class Side:
    package: str
    """What is imported of it; '' for what the project has anyway."""
    reads: str
    crops: str
    rival: bool = True
    converts: bool = False
    """Whether it wants the job in a format of its own, made once."""


SIDES: Mapping[str, Side] = {
    OURS: Side("", "S3, then its memory", "bytes", rival=False),
    PLAIN: Side("", "S3, then its memory", "bytes", rival=False),
    "Pillow chain": Side("", "local files", "Pillow, floats"),
    "webdataset": Side("webdataset", "S3, always", _TENSORS),
    "streaming": Side("streaming", "S3, then its disk cache", _TENSORS, converts=True),
    "litdata": Side("litdata", "S3, then its disk cache", _TENSORS, converts=True),
}
