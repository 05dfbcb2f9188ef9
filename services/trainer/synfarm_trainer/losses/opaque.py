"""Losses that a compiler must not see through: it might keep what they compute twice in order to save memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import torch

__all__ = ["opaque"]

P = ParamSpec("P")
R = TypeVar("R")


def opaque(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, run as it is written also inside of ``torch.compile``."""
    return cast(Callable[P, R], torch.compiler.disable(function))  # type: ignore[no-untyped-call]
