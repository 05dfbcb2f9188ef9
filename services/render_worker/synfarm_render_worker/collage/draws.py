"""The random choices of one image, each drawn by its name from the image's seed: adding one moves no other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import below, bits, key_of, shuffled_sample, text_id, uniform

__all__ = ["Draws"]

T = TypeVar("T")


@lru_cache(maxsize=4096)
def _name_id(name: str) -> int:
    """``text_id``, remembered: an image draws a few hundred numbers under a few dozen names."""
    return text_id(name)


class Draws:
    """Keyed choices: a pure function of (seed, name, index)."""

    def __init__(self, seed: int) -> None:
        self._key = key_of(seed, Purpose.IMAGE)

    def unit(self, name: str, index: int = 0) -> float:
        """Uniform in [0, 1)."""
        value: float = uniform(bits(self._key, _name_id(name), index))
        return value

    def between(self, name: str, low: float, high: float, index: int = 0) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit(name, index)

    def whole(self, name: str, low: int, high: int, index: int = 0) -> int:
        """A whole number in [low, high], both included."""
        value: int = below(bits(self._key, _name_id(name), index), high - low + 1)
        return low + value

    def chance(self, name: str, probability: float, index: int = 0) -> bool:
        return self.unit(name, index) < probability

    def choice(self, name: str, options: Sequence[T], index: int = 0) -> T:
        return options[self.whole(name, 0, len(options) - 1, index)]

    def several(self, name: str, options: Sequence[T], count: int) -> list[T]:
        """``count`` different options, in random order."""
        picked = shuffled_sample(self._key, len(options), count, _name_id(name))
        return [options[i] for i in picked]

    def noise(self, name: str, rows: int, columns: int) -> npt.NDArray[np.float32]:
        """rows x columns of uniform numbers in [0, 1)."""
        places: npt.NDArray[np.int64] = np.arange(rows * columns, dtype=np.int64)
        words: Any = bits(self._key, _name_id(name), places)
        field: npt.NDArray[np.float64] = uniform(words)
        return field.astype(np.float32).reshape(rows, columns)
