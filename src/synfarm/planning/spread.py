"""A number that is not known exactly: what it is at least, most likely, and at most."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from synfarm.contracts.base import Contract

__all__ = ["Spread"]


class Spread(Contract):
    """A bare number stands for one that is known."""

    low: float = Field(ge=0)
    likely: float = Field(ge=0)
    high: float = Field(ge=0)

    @model_validator(mode="before")
    @classmethod
    def _of_a_number(cls, data: Any) -> Any:
        if isinstance(data, int | float) and not isinstance(data, bool):
            return {"low": data, "likely": data, "high": data}
        return data

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.likely <= self.high:
            raise ValueError(f"low, likely, high must rise, got {self.low:g}, {self.likely:g}, {self.high:g}")
        return self

    @classmethod
    def exactly(cls, value: float) -> Self:
        return cls(low=value, likely=value, high=value)

    def times(self, factor: float) -> Spread:
        """All three by a factor that is known."""
        return Spread(low=self.low * factor, likely=self.likely * factor, high=self.high * factor)

    def plus(self, other: Spread) -> Spread:
        """The sum; its ends are those of both at once, so that it is rather too wide."""
        return Spread(low=self.low + other.low, likely=self.likely + other.likely, high=self.high + other.high)

    def at_least(self, other: Spread) -> Spread:
        """What takes longer of two that go on side by side."""
        return Spread(
            low=max(self.low, other.low), likely=max(self.likely, other.likely), high=max(self.high, other.high)
        )

    def under(self, amount: float) -> Spread:
        """``amount`` over this: the time that work takes at a rate. The fastest rate gives the least.

        Raises:
            ZeroDivisionError: the rate may be zero.
        """
        return Spread(low=amount / self.high, likely=amount / self.likely, high=amount / self.low)
