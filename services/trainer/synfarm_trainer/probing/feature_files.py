"""Features of a split as a file that other tools read: safetensors or npz."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

__all__ = ["SUFFIXES", "write_features"]

SUFFIXES = (".safetensors", ".npz")


def write_features(
    file: Path,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    described: dict[str, Any],
) -> None:
    """``features`` (n, width) and ``labels``; class names and where it comes from as JSON in the header, or in
    ``about``. The file appears whole or not at all.

    Raises:
        OSError: there is no room.
    """
    about = {"classes": json.dumps(classes), **{name: json.dumps(value) for name, value in described.items()}}
    part = file.with_name(f".{file.name}.part")
    try:
        if file.suffix == ".npz":
            with part.open("wb") as opened:
                np.savez(opened, features=features, labels=labels, about=np.array(json.dumps(about)))
        else:
            part.write_bytes(save({"features": np.ascontiguousarray(features), "labels": labels}, metadata=about))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
