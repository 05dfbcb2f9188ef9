"""A run's backbone in the form that other tools load: ``export.json`` beside it says what was written and proven."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synfarm.contracts.base import Contract
from synfarm.contracts.ids import RunId

__all__ = ["BackboneExport", "BackboneFormat"]

BackboneFormat = Literal["timm", "safetensors", "huggingface", "onnx"]


class BackboneExport(Contract):
    """What ``synfarm runs export`` left in a folder."""

    schema_version: Literal[1] = 1
    run: RunId
    step: int | None = None
    """Of the checkpoint; None for the export of the completed run."""
    format: BackboneFormat
    files: tuple[str, ...] = Field(min_length=1)
    """Their names, beside this one."""
    weights_sha256: str
    """Of the file in the store that they were made of."""
    side: int
    """Pixels of an image's side."""
    width: int
    """Numbers in a feature."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of pixels in 0 to 1."""
    positions: str
    """How the run resampled positions for crops of another size than ``side`` (``model.positions``)."""
    load: str
    """Lines of Python that load it."""
    difference: float
    """Largest difference of a feature between what was written, read back, and the run's own network, as a share of
    the largest feature."""
    tolerance: float
    """What it may be at most; otherwise nothing is left."""
