"""How loops are compiled. Loading this module loads numba; what it compiles is kept on disk where that is possible.

A compiled function lets go of the interpreter while it runs. No flag allows another order of operations than the one
that is written, nor products and sums in one rounding, so bits do not depend on the width of the machine's registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["compiled"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """``function``, compiled for the types of its arguments when it is first called with them."""
    compiler: Callable[..., Any] = numba.njit
    options = {"nogil": True, "error_model": "numpy"}
    try:
        made: F = compiler(cache=True, **options)(function)
    except RuntimeError:  # neither beside the module nor in the user's cache may anything be written
        made = compiler(**options)(function)
    return made
