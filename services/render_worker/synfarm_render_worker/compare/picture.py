"""The columns as a picture: a row a caption, a column a preset, each with its label."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from synfarm_render_worker.renderer import Pixels

__all__ = ["MOST_ROWS", "grid"]

MOST_ROWS = 32
"""A WebP file is at most 16,383 px high."""
_MOST_SIDE, _LEAST_SIDE = 256, 128
_GAP, _CAPTION, _TEXT, _LINE = 8, 220, 14, 20


def grid(captions: Sequence[str], heads: Sequence[Sequence[str]], images: Sequence[Sequence[Pixels]]) -> bytes:
    """WebP bytes.

    Args:
        captions: one a row, the first ``MOST_ROWS`` are shown.
        heads: lines over each column, the first of which is its name.
        images: for each column one image of each caption.
    """
    rows = min(len(captions), MOST_ROWS)
    cell = max(_LEAST_SIDE, min(_MOST_SIDE, images[0][0].shape[0]))
    width = _CAPTION + len(heads) * (cell + _GAP) + _GAP
    head = _LINE * max(map(len, heads)) + _GAP
    sheet = Image.new("RGB", (width, head + rows * (cell + _GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    font, bold = ImageFont.load_default(_TEXT), ImageFont.load_default(_TEXT + 3)
    for place, lines in enumerate(heads):
        left = _CAPTION + place * (cell + _GAP)
        for number, line in enumerate(lines):
            name = number == 0
            pen.text((left, number * _LINE + 2), line, fill="black" if name else "#555555", font=bold if name else font)
    for row in range(rows):
        top = head + row * (cell + _GAP)
        folded = _folded(captions[row], font, _CAPTION - 2 * _GAP, cell // (_TEXT + 6))
        pen.multiline_text((_GAP, top), "\n".join(folded), fill="black", font=font, spacing=4)
        for place, column in enumerate(images):
            shown = Image.fromarray(column[row])
            if shown.size != (cell, cell):
                smooth = Image.Resampling.LANCZOS if shown.width > cell else Image.Resampling.NEAREST
                shown = shown.resize((cell, cell), smooth)
            sheet.paste(shown, (_CAPTION + place * (cell + _GAP), top))
    out = io.BytesIO()
    sheet.save(out, "WEBP", quality=90, method=4)
    return out.getvalue()


def _folded(text: str, font: Any, width: int, most: int) -> list[str]:
    """Lines of at most ``width`` px, the last with dots if the text goes on."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= width:
            lines[-1] = longer
        elif len(lines) == most:
            lines[-1] += " …"
            break
        else:
            lines.append(word)
    return lines
