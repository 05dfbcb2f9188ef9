"""What a name that leads to no network is answered with."""

from __future__ import annotations

__all__ = ["NetworkRefused"]


class NetworkRefused(ValueError):
    """There is no such network, or it cannot be loaded; the message says what to do."""
