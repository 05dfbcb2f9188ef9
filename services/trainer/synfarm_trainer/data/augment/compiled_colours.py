"""Jitter, gray, Gaussian blur and solarize in compiled loops: the arithmetic of ``reference``, in its order.

Pictures are rows of three channels of pixels, (H, 3, W): one layout for all loops, each of which runs along a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synfarm_trainer.data.augment.jit import compiled

__all__ = ["begin", "finish"]

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Places = NDArray[np.int64]

_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)
_LEAST, _MOST = np.float32(0), np.float32(255)


@compiled
def _luma(x: Floats) -> Floats:
    """(H, W)"""
    found = np.empty((x.shape[0], x.shape[2]), np.float32)
    for y in range(x.shape[0]):
        red, green, blue = x[y, 0], x[y, 1], x[y, 2]
        for i in range(x.shape[2]):
            found[y, i] = red[i] * _RED + green[i] * _GREEN + blue[i] * _BLUE
    return found


@compiled
def _gray(x: Floats) -> None:
    """Every channel becomes the luma, in place."""
    for y in range(x.shape[0]):
        red, green, blue = x[y, 0], x[y, 1], x[y, 2]
        for i in range(x.shape[2]):
            level = red[i] * _RED + green[i] * _GREEN + blue[i] * _BLUE
            red[i] = level
            green[i] = level
            blue[i] = level


@compiled
def _blend(x: Floats, part: int, factor: np.float32, mean: np.float32) -> None:
    """Brightness (part 0), contrast (1, ``mean`` of the luma) or saturation (2) by ``factor``, in place."""
    base = np.empty(x.shape[2], np.float32)
    base[:] = mean if part == 1 else np.float32(0)
    for y in range(x.shape[0]):
        if part == 2:
            red, green, blue = x[y, 0], x[y, 1], x[y, 2]
            for i in range(x.shape[2]):
                base[i] = red[i] * _RED + green[i] * _GREEN + blue[i] * _BLUE
        for c in range(3):
            row = x[y, c]
            for i in range(x.shape[2]):
                row[i] = min(max(base[i] + (row[i] - base[i]) * factor, _LEAST), _MOST)


@compiled
def _shift_hue(x: Floats, turn: int) -> None:
    """By ``turn`` steps of Pillow's 8-bit hue, in place; the rest of a picture goes through its bytes, too.

    As Pillow: parts of the way there are of float32, the sums of float64. Results of a row wait in rows of their own:
    loops that write what they read do not fill the registers.
    """
    width, one, none = x.shape[2], np.float32(1), np.int32(0)
    hues, steps = np.empty(width, np.int32), np.int32(turn)
    saturations, values = np.empty(width, np.float64), np.empty(width, np.float64)
    new_red, new_green, new_blue = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(x.shape[0]):
        reds, greens, blues = x[y, 0], x[y, 1], x[y, 2]
        for i in range(width):
            red = min(max(np.rint(reds[i]), _LEAST), _MOST)
            green = min(max(np.rint(greens[i]), _LEAST), _MOST)
            blue = min(max(np.rint(blues[i]), _LEAST), _MOST)
            value = max(red, max(green, blue))
            chroma = value - min(red, min(green, blue))
            divisor = max(chroma, one)
            r, g, b = (value - red) / divisor, (value - green) / divisor, (value - blue) / divisor
            from_green = np.float32(2.0 + np.float64(r) - np.float64(b))
            from_blue = np.float32(4.0 + np.float64(g) - np.float64(r))
            sixths = b - g if red == value else (from_green if green == value else from_blue)
            turns = np.float64(sixths) / 6.0 + 1.0
            turns = np.float64(np.float32(turns - 1.0 if turns >= 1.0 else turns))
            hue = np.int32(turns * 255.0)
            hues[i] = ((hue if chroma > _LEAST else none) + steps) & np.int32(255)
            saturations[i] = np.float64(np.int32(np.float64(chroma / max(value, one)) * 255.0))
            values[i] = np.float64(value)
        for i in range(width):
            place = np.float64(hues[i]) * 6.0 / 255.0
            sixth = np.int32(place)
            rest = np.float64(np.float32(place - np.float64(sixth)))
            s, v = np.float64(np.float32(saturations[i] / 255.0)), values[i]
            value = np.float32(v)
            p = np.float32(np.int32(v * (1.0 - s) + 0.5))
            q = np.float32(np.int32(v * (1.0 - np.float64(np.float32(s * rest))) + 0.5))
            t = np.float32(np.int32(v * (1.0 - s * (1.0 - rest)) + 0.5))
            k = sixth if sixth < 6 else none
            new_red[i] = value if (k == 0) | (k == 5) else (q if k == 1 else (t if k == 4 else p))
            new_green[i] = value if (k == 1) | (k == 2) else (t if k == 0 else (q if k == 3 else p))
            new_blue[i] = value if (k == 3) | (k == 4) else (t if k == 2 else (q if k == 5 else p))
        reds[:], greens[:], blues[:] = new_red, new_green, new_blue


@compiled
def _mirrored(place: int, length: int) -> int:
    """The pixel that a mirror at both edges shows, which do not show themselves again."""
    period = 2 * (length - 1)
    place = abs(place) % period
    return min(place, period - place)


@compiled
def _blur(x: Floats, taps: Floats) -> Floats:
    """``x`` smoothed by ``taps``, along its columns first; what lies beside it is its mirror image."""
    height, _, width = x.shape
    reach, row = len(taps) // 2, np.empty((3, width + 2 * (len(taps) // 2)), np.float32)
    found = np.empty_like(x)
    for y in range(height):
        line = row[:, reach : reach + width]
        line[:] = np.float32(0)
        for k in range(len(taps)):
            weight, other = taps[k], x[_mirrored(y + k - reach, height)]
            for c in range(3):
                for i in range(width):
                    line[c, i] += weight * other[c, i]
        for c in range(3):
            for i in range(reach):
                row[c, i] = line[c, _mirrored(i - reach, width)]
                row[c, reach + width + i] = line[c, _mirrored(width + i, width)]
            total = found[y, c]
            total[:] = np.float32(0)
            for k in range(len(taps)):
                weight = taps[k]
                for i in range(width):
                    total[i] += weight * row[c, k + i]
    return found


@compiled
def _to_bytes(x: Floats, solarize: bool) -> Pixels:
    """(H, W, 3) bytes, rounded with halves to even; what is 128 or more is turned over by ``solarize``."""
    height, _, width = x.shape
    found, row = np.empty((height, width, 3), np.uint8), np.empty(width, np.uint8)
    for y in range(height):
        for c in range(3):
            for i in range(width):
                level = np.uint8(min(max(np.rint(x[y, c, i]), _LEAST), _MOST))
                row[i] = 255 - level if solarize and level >= 128 else level
            for i in range(width):
                found[y, i, c] = row[i]
    return found


@compiled
def _jitter(x: Floats, order: Places, factors: Floats, contrast: np.float32) -> None:
    """Some parts of the jitter in their order, in place; hue shifts by 0 and factors of 1 are none."""
    for part in order:
        factor = factors[part]
        if part == 3:
            if factor != 0:
                _shift_hue(x, int(np.rint(np.float64(factor) * 255.0)))
        elif factor != 1:
            _blend(x, part, factor, contrast)


@compiled
def _place_of(part: int, order: Places) -> int:
    for i in range(len(order)):
        if order[i] == part:
            return i
    return len(order)


@compiled
def begin(resized: Pixels, order: Places, factors: Floats) -> tuple[Floats, Floats]:
    """Pixels (H, 3, W) after the parts of the jitter that come before its contrast.

    Args:
        order, factors: (4,) of the jitter's parts: brightness, contrast, saturation and the hue's shift in turns; an
            empty order for no jitter.

    Returns:
        Them, and their luma, (H, W): the contrast needs the mean of it, whose bits depend on the order of the sum and
        so are numpy's. Empty without a contrast.
    """
    x = resized.astype(np.float32)
    place = _place_of(1, order)
    _jitter(x, order[:place], factors, np.float32(0))
    if place == len(order) or factors[1] == 1:
        return x, np.empty((0, 0), np.float32)
    return x, _luma(x)


@compiled
def finish(
    x: Floats, contrast: np.float32, order: Places, factors: Floats, gray: bool, taps: Floats, solarize: bool
) -> Pixels:
    """What is left of the crop of :func:`begin`: the rest of the jitter, gray, blur, rounding, solarize.

    Args:
        contrast: mean of the luma.
        taps: (k,) of the blur; empty for none.

    Returns:
        (size, size, 3) bytes.
    """
    _jitter(x, order[_place_of(1, order) :], factors, contrast)
    if gray:
        _gray(x)
    return _to_bytes(_blur(x, taps) if len(taps) else x, solarize)
