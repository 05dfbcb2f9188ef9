"""Pillow's crop and resize of an RGB image in compiled loops, bit by bit.

The image is taken by its columns, (W, 3, H), so that the loops of both passes run along what lies together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synfarm_trainer.data.augment.jit import compiled

__all__ = ["columns_first", "resize"]

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int32]
Taps = tuple[Ints, Ints, Ints]

_BITS = 22
"""Of the fraction in Pillow's weights, which it keeps as whole numbers for 8-bit pictures."""


@compiled
def _by_words(source: NDArray[np.uint64], found: NDArray[np.uint64]) -> None:
    """``found`` is the transposed bytes of ``source``, eight times eight at once; both sides are multiples of eight.

    Within eight words bytes change places by pairs, then pairs of them, then fours.
    """
    ones, twos, fours = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0x00000000FFFFFFFF)
    by1, by2, by4 = np.uint64(8), np.uint64(16), np.uint64(32)
    for i in range(source.shape[0] // 8):
        y = 8 * i
        for j in range(source.shape[1]):
            a, b, c, d = source[y, j], source[y + 1, j], source[y + 2, j], source[y + 3, j]
            e, f, g, h = source[y + 4, j], source[y + 5, j], source[y + 6, j], source[y + 7, j]
            s, t = ((a >> by1) ^ b) & ones, ((c >> by1) ^ d) & ones
            a, b, c, d = a ^ (s << by1), b ^ s, c ^ (t << by1), d ^ t
            s, t = ((e >> by1) ^ f) & ones, ((g >> by1) ^ h) & ones
            e, f, g, h = e ^ (s << by1), f ^ s, g ^ (t << by1), h ^ t
            s, t = ((a >> by2) ^ c) & twos, ((b >> by2) ^ d) & twos
            a, c, b, d = a ^ (s << by2), c ^ s, b ^ (t << by2), d ^ t
            s, t = ((e >> by2) ^ g) & twos, ((f >> by2) ^ h) & twos
            e, g, f, h = e ^ (s << by2), g ^ s, f ^ (t << by2), h ^ t
            s, t = ((a >> by4) ^ e) & fours, ((b >> by4) ^ f) & fours
            a, e, b, f = a ^ (s << by4), e ^ s, b ^ (t << by4), f ^ t
            s, t = ((c >> by4) ^ g) & fours, ((d >> by4) ^ h) & fours
            c, g, d, h = c ^ (s << by4), g ^ s, d ^ (t << by4), h ^ t
            x = 8 * j
            found[x, i], found[x + 1, i], found[x + 2, i], found[x + 3, i] = a, b, c, d
            found[x + 4, i], found[x + 5, i], found[x + 6, i], found[x + 7, i] = e, f, g, h


@compiled
def columns_first(image: Pixels) -> Pixels:
    """(W, 3, H) of (H, W, 3): the first pass of a resize runs along columns."""
    height, width = image.shape[0], image.shape[1]
    found = np.empty((width, 3, height), np.uint8)
    if height % 8 == 0 and width % 8 == 0:
        _by_words(image.reshape(height, 3 * width).view(np.uint64), found.reshape(3 * width, height).view(np.uint64))
        return found
    for x in range(width):
        for c in range(3):
            for y in range(height):
                found[x, c, y] = image[y, x, c]
    return found


@compiled
def _keys(x: float) -> float:
    """Bicubic, a = -1/2."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    if x < 2.0:
        return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return 0.0


@compiled
def _stretch(low: float, high: float, size: int, length: int, bilinear: bool) -> Taps:
    """Pillow's weights from an axis of ``length`` pixels to ``size`` of its stretch from ``low`` to ``high``.

    Returns:
        (size,) the first pixel, (size,) how many, (size, most) their weights in 2**-22, at least a 0 behind them.
    """
    # Pillow takes its box as float32.
    start, end = np.float32(low), np.float32(high)
    scale = np.float64(end - start) / size
    wide = max(scale, 1.0)
    reach = (1.0 if bilinear else 2.0) * wide
    most = int(np.ceil(reach)) * 2 + 2
    first, count = np.empty(size, np.int32), np.empty(size, np.int32)
    weights = np.zeros((size, most), np.int32)
    some = np.empty(most, np.float64)
    for i in range(size):
        centre = np.float64(start) + (i + 0.5) * scale
        lowest = max(int(centre - reach + 0.5), 0)
        n = min(int(centre + reach + 0.5), length) - lowest
        total = 0.0
        for j in range(n):
            offset = (j + lowest - centre + 0.5) * (1.0 / wide)
            some[j] = max(1.0 - abs(offset), 0.0) if bilinear else _keys(offset)
            total += some[j]
        for j in range(n):
            weight = some[j] / total * (1 << _BITS)
            weights[i, j] = int(weight - 0.5) if weight < 0 else int(weight + 0.5)
        first[i], count[i] = lowest, n
    return first, count, weights


@compiled
def _along(source: Pixels, low: int, high: int, taps: Taps, backwards: bool, found: Pixels) -> None:
    """Rows of ``found`` (size, at least n) from columns ``low`` to ``high`` of ``source`` (length, ...), n of them."""
    first, count, weights = taps
    size, n = len(first), high - low
    total = np.empty(n, np.int32)
    for i in range(size):
        total[:] = 1 << (_BITS - 1)
        last = first[i] + count[i] - 1
        # Two taps at once; the second of an odd pair weighs nothing.
        for j in range(0, count[i], 2):
            weight, row = weights[i, j], source[first[i] + j, low:high]
            other, next_row = weights[i, j + 1], source[min(first[i] + j + 1, last), low:high]
            for x in range(n):
                total[x] += np.int32(row[x]) * weight + np.int32(next_row[x]) * other
        line = found[size - 1 - i if backwards else i]
        for x in range(n):
            line[x] = min(max(total[x] >> _BITS, 0), 255)


@compiled
def _resample(columns: Pixels, across: Taps, down: Taps, flip: bool) -> Pixels:
    """(size, 3, size): as Pillow resizes, first along the rows, then along the columns, bytes after each.

    Args:
        columns: (W, 3, H) of :func:`columns_first`.
        across, down: of :func:`_stretch` for the width and the height.
        flip: left and right change places.
    """
    size, top, bottom = len(across[0]), down[0][0], down[0][-1] + down[1][-1]
    # Sides of what is transposed by words are rounded up to them; what fills them is never looked at.
    high, wide = (bottom - top + 7) // 8 * 8, (size + 7) // 8 * 8
    narrow, rows = np.zeros((wide, high), np.uint8), np.empty((high, wide), np.uint8)
    found = np.empty((size, 3, size), np.uint8)
    beneath = (down[0] - top, down[1], down[2])
    for c in range(3):
        _along(columns[:, c], top, bottom, across, flip, narrow)
        _by_words(narrow.view(np.uint64), rows.view(np.uint64))
        _along(rows, 0, size, beneath, False, found[:, c])
    return found


@compiled
def resize(columns: Pixels, box: NDArray[np.float64], size: int, bilinear: bool, flip: bool) -> Pixels:
    """(size, 3, size): the crop as Pillow resizes it, but that left and right change places with ``flip``.

    Args:
        columns: (W, 3, H) of :func:`columns_first`, no higher than wide.
        box: (4,) left, upper, right, lower in pixels.
    """
    across = _stretch(box[0], box[2], size, columns.shape[0], bilinear)
    down = _stretch(box[1], box[3], size, columns.shape[2], bilinear)
    return _resample(columns, across, down, flip)
