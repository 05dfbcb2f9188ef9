"""What a run cannot be asked to do, found out when it already runs: another start would end in the same way."""

from __future__ import annotations

__all__ = ["RunRefused"]


class RunRefused(ValueError):
    """The configuration does not fit the data or the machine; the message begins with the field.

    Before a run's first step any ValueError says so. After it, a ValueError of another class is a fault of the code.
    """
