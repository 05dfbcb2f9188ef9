"""Which form of the pixels' work the loader's threads use; both give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfarm.telemetry import get_logger
from synfarm_trainer.data.augment import reference
from synfarm_trainer.data.augment.params import CropParams

__all__ = ["Cutter", "cutter"]

Pixels = NDArray[np.uint8]
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Cutter:
    prepare: Callable[[Pixels], Any]
    """What the crops of an image, (H, W, 3), are cut from; made once for all of them."""
    crop: Callable[[Any, int, CropParams, int], Pixels]
    """From what was prepared, the crops' size, their parameters and the crop's number: (size, size, 3)."""


def cutter(form: str) -> Cutter:
    """Of ``data.cutting``: plain or compiled. Without numba it is the plain one, which the log then tells."""
    if form == "compiled":
        if find_spec("numba") is not None:
            from synfarm_trainer.data.augment import compiled

            return Cutter(compiled.ImageColumns, compiled.apply_crop)
        _log.warning("crops_cut_slowly", reason="numba is not installed; pip install 'synfarm[trainer]'")
    return Cutter(Image.fromarray, reference.apply_crop)
