"""Pieces of keys, checked, so that no key can leave its folder."""

from __future__ import annotations

import re

__all__ = ["checked_sha256", "digits", "plain_name"]

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def plain_name(value: str) -> str:
    if not _NAME.fullmatch(value) or ".." in value:
        raise ValueError(f"not a plain file name: {value[:64]!r}")
    return value


def checked_sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"not a sha256: {value[:80]!r}")
    return value


def digits(value: int, width: int) -> str:
    if not 0 <= value < 10**width:
        raise ValueError(f"number must be in [0, 10**{width}), got {value}")
    return f"{value:0{width}d}"
