"""Folders of small images of no particular thing."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _picture(seed: int, width: int = 48, height: int = 36, form: str = "JPEG", mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height // 4, width // 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).convert(mode).save(out, form)
    return out.getvalue()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """(seed, width, height, form, mode) to an image file; no two seeds give the same bytes."""
    return _picture


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """(classes, each) to a new folder of class folders."""

    def make(classes: tuple[str, ...] = ("red fox", "owl"), each: int = 6) -> Path:
        root = tmp_path / "photos"
        for place, name in enumerate(classes):
            (root / name).mkdir(parents=True)
            for number in range(each):
                (root / name / f"{number}.jpg").write_bytes(_picture(100 * place + number))
        return root

    return make
