"""Tensors out of a safetensors file whose header may say anything."""

from __future__ import annotations

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

__all__ = ["tensors_in"]

_ODD = (SafetensorError, KeyError, TypeError, ValueError, RuntimeError)
"""safetensors' own error is for headers that are none. For those that are well-formed and odd (a side of 2^63 beside
one of 0, a type that torch lacks) what torch raises comes through. A full memory is no fault of the file."""


def tensors_in(data: bytes) -> dict[str, Tensor]:
    """By name. Nothing is taken for a tensor before its bytes are known to be there.

    Raises:
        ValueError: it is no safetensors file, or none that torch can hold; the message is a reason.
    """
    try:
        return load(data)
    except _ODD as error:
        raise ValueError(f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}") from error
