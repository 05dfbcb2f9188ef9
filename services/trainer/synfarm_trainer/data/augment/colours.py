"""Colour jitter of a batch: each crop its own factors in its own order, without a branch on what was drawn.

Pictures are (n, 3, H, W) floats, 0 to 255; what is told of each crop is (n,) or (n, k).
"""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.data.augment.resampling import to_bytes

__all__ = ["blend", "luma", "shift_hue"]


def luma(x: Tensor) -> Tensor:
    """(n, 1, H, W)"""
    red, green, blue = x.unbind(1)
    return (red * 0.299 + green * 0.587 + blue * 0.114).unsqueeze(1)


def blend(x: Tensor, part: Tensor, factor: Tensor) -> Tensor:
    """Brightness (part 0), contrast (1) or saturation (2) by ``factor``; 1 leaves a picture as it is."""
    part, factor = (told.view(-1, 1, 1, 1) for told in (part, factor))
    gray = luma(x)
    base = torch.where(part == 0, 0.0, torch.where(part == 1, gray.mean(dim=(1, 2, 3), keepdim=True), gray))
    return torch.lerp(base, x, factor).clamp(0, 255)


def _to_hsv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whole bytes (n, 3, H, W) to hue, saturation and value as Pillow's 8-bit mode has them.

    Flat saturated colours lie on the edges of its steps, where one step of the hue is 6 grey levels; so its float32 and
    float64 roundings are done as it does them.
    """
    red, green, blue = x.unbind(1)
    value, least = x.amax(dim=1), x.amin(dim=1)
    chroma = value - least
    divisor = chroma.clamp(min=1)
    r, g, b = ((value - channel) / divisor for channel in (red, green, blue))
    from_green, from_blue = (2 + r.double() - b.double()).float(), (4 + g.double() - r.double()).float()
    sixths = torch.where(red == value, b - g, torch.where(green == value, from_green, from_blue))
    turns = torch.fmod(sixths.double() / 6 + 1, 1).float()
    hue, saturation = (turns * 255).floor(), (chroma / value.clamp(min=1) * 255).floor()
    coloured = chroma > 0
    return torch.where(coloured, hue, 0.0), torch.where(coloured, saturation, 0.0), value


def _to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The way back, again with Pillow's roundings; value, saturation and hue are whole bytes (n, H, W)."""
    place = hue.double() * 6 / 255
    sixth = place.floor()
    rest, s, v = (place - sixth).float(), (saturation.double() / 255).float(), value.double()
    # Whole halves are rounded up, as C's round has it for what is positive.
    p = (v * (1 - s.double()) + 0.5).floor().float()
    q = (v * (1 - (s * rest).double()) + 0.5).floor().float()
    t = (v * (1 - s.double() * (1 - rest.double())) + 0.5).floor().float()
    which = sixth.remainder(6)
    among = [which == i for i in range(5)]

    def pick(*by_sixth: Tensor) -> Tensor:
        chosen = by_sixth[5]
        for here, candidate in zip(among, by_sixth, strict=False):
            chosen = torch.where(here, candidate, chosen)
        return chosen

    red, green, blue = pick(value, q, p, p, t, value), pick(t, value, value, q, p, p), pick(p, p, t, value, value, q)
    return torch.stack([red, green, blue], dim=1)


def shift_hue(x: Tensor, turn: Tensor) -> Tensor:
    """By ``turn`` (n,) whole steps of the 8-bit hue, of which 255 are a turn; the rest of a picture is rounded too."""
    hue, saturation, value = _to_hsv(to_bytes(x))
    return _to_rgb((hue + turn.view(-1, 1, 1)).remainder(256), saturation, value)
