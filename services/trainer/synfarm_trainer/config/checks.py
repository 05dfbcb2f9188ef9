"""One way to refuse a value of the configuration: the dotted name of the field first, then what would do."""

from __future__ import annotations

__all__ = ["need"]


def need(condition: bool, name: str, message: str) -> None:
    """Raises:
    ValueError: ``<name>: <message>`` if the condition does not hold.
    """
    if not condition:
        raise ValueError(f"{name}: {message}")
