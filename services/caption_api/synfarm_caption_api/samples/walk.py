"""The order in which samples are looked at: every beginning of it is spread evenly over the whole job."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["spread", "walk"]


def spread(bound: int, start: int = 0) -> Iterator[int]:
    """The numbers below ``bound`` from ``start`` on, in the order of van der Corput's sequence to the base 2.

    That is the order of the numbers' binary digits read backwards: 0, one half, one quarter, three quarters … of the
    range. It is one order of all natural numbers: a larger ``bound`` puts more numbers in between and swaps none. So a
    reader goes on where he stopped though the job has grown meanwhile.
    """
    if bound < 1:
        return
    width = (bound - 1).bit_length()
    first = _reversed(start & ((1 << width) - 1), width)
    if start >> width:  # a number beyond the range: what follows it
        first += 1
    for position in range(first, 1 << width):
        number = _reversed(position, width)
        if number < bound:  # true of every second one at least
            yield number


def walk(bound: int, cursor: int, block: int) -> Iterator[int]:
    """The indices below ``bound`` from ``cursor`` on: blocks of ``block`` in spread order, rising within a block."""
    first = cursor // block
    for number in spread(-(-bound // block), first):
        begin = cursor if number == first else number * block
        yield from range(begin, min(bound, (number + 1) * block))


def _reversed(number: int, width: int) -> int:
    return int(f"{number:0{width}b}"[::-1], 2) if width else 0
