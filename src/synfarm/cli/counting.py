"""Numbers of things in sentences."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, what: str) -> str:
    """``1 caption``, ``2 captions``."""
    return f"{count} {what if count == 1 else f'{what}s'}"
