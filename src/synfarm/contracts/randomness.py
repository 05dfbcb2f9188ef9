"""Keyed randomness: every random choice is a pure function of (seed, purpose, ids).

One counter hash serves scalars (plain ``int``), numpy ``int64`` arrays and torch ``int64`` tensors and yields the same
64 bits for each; this file imports none of the array libraries and uses operators only. The mixer is the splitmix64
finaliser (Steele, Lea and Flood, OOPSLA 2014), applied once to each id and once to the running state.

Shapes: ids broadcast against one another by the rules of the array library; the result has the broadcast shape.
Scalars in, scalar out: ``bits`` gives an unsigned ``int`` in [0, 2**64); arrays hold the same bits as signed ``int64``.
Arrays need at least one axis (numpy warns when a 0-d integer wraps).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, overload

__all__ = ["below", "bits", "key_of", "permutation", "seed32", "seed63", "shuffled_sample", "text_id", "uniform"]

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_M1 = 0xBF58476D1CE4E5B9
_M2 = 0x94D049BB133111EB


def _signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x


_GAMMA_S, _M1_S, _M2_S = _signed(_GAMMA), _signed(_M1), _signed(_M2)


def _mix_int(x: int) -> int:
    x = ((x ^ (x >> 30)) * _M1) & _MASK
    x = ((x ^ (x >> 27)) * _M2) & _MASK
    return x ^ (x >> 31)


def _shift_right(x: Any, k: int) -> Any:
    """Logical shift of signed int64 arrays, whose own ``>>`` copies the sign bit."""
    return (x >> k) & ((1 << (64 - k)) - 1)


def _mix_array(x: Any) -> Any:
    x = (x ^ _shift_right(x, 30)) * _M1_S
    x = (x ^ _shift_right(x, 27)) * _M2_S
    return x ^ _shift_right(x, 31)


def key_of(seed: int, purpose: str) -> int:
    """The 64-bit key of one purpose under one seed; ``seed`` is in [0, 2**63)."""
    if not 0 <= seed < 1 << 63:
        raise ValueError(f"seed must be in [0, 2**63), got {seed}")
    return int.from_bytes(blake2b(purpose.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest(), "little")


def text_id(text: str) -> int:
    """A 63-bit id for a string (a job id, a concept), usable wherever an integer id is."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@overload
def bits(key: int, *ids: int) -> int: ...
@overload
def bits(key: int, *ids: Any) -> Any: ...
def bits(key: int, *ids: Any) -> Any:
    """64 random bits for ``ids`` under ``key``."""
    state: Any = key
    for item in ids:
        if isinstance(state, int) and isinstance(item, int):
            state = _mix_int(state ^ _mix_int((item + _GAMMA) & _MASK))
            continue
        if isinstance(state, int):
            state = _signed(state)
        mixed = _signed(_mix_int((item + _GAMMA) & _MASK)) if isinstance(item, int) else _mix_array(item + _GAMMA_S)
        state = _mix_array(mixed ^ state)
    return state


def _float64(x: Any) -> Any:
    return x.double() if hasattr(x, "double") else x.astype("float64")


def uniform(word: Any) -> Any:
    """Bits to float64 in [0, 1) by the top 53 bits: exact, so every library gives the same number."""
    if isinstance(word, int):
        return (word >> 11) * 2.0**-53
    return _float64(_shift_right(word, 11)) * 2.0**-53


def below(word: Any, n: int) -> Any:
    """Bits to an integer in [0, n), n <= 2**31, by multiply and shift (bias below n / 2**32)."""
    if not 0 < n <= 1 << 31:
        raise ValueError(f"n must be in [1, 2**31], got {n}")
    if isinstance(word, int):
        return ((word >> 32) * n) >> 32
    return (_shift_right(word, 32) * n) >> 32


def seed63(word: int) -> int:
    """A seed for a library generator that takes signed 64-bit numbers (torch.Generator)."""
    return word >> 1


def seed32(word: int) -> int:
    """A seed in [0, 2**32) for libraries that take no more."""
    return word >> 32


def permutation(key: int, n: int, *ids: int) -> list[int]:
    """A permutation of range(n), a pure function of (key, ids)."""
    return sorted(range(n), key=lambda i: bits(key, *ids, i))


def shuffled_sample(key: int, n: int, k: int, *ids: int) -> list[int]:
    """k distinct indices below n in random order, without replacement (partial Fisher-Yates on a sparse table)."""
    if not 0 <= k <= n:
        raise ValueError(f"cannot draw {k} of {n} without replacement")
    moved: dict[int, int] = {}
    drawn: list[int] = []
    for i in range(k):
        j = i + below(bits(key, *ids, i), n - i)
        drawn.append(moved.get(j, j))
        moved[j] = moved.get(i, i)
    return drawn
