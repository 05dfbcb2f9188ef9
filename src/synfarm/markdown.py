"""Words of users inside Markdown: text stays text, in a cell of a table too."""

from __future__ import annotations

import re

from synfarm.safe_text import visible

__all__ = ["as_text"]

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
# CommonMark 0.31, 2.4: any ASCII punctuation may stand behind a backslash. These begin emphasis, code, links, images,
# mathematics; the colon and the dot break what GitHub (GFM, 6.9) and others make links of by themselves.
_ACTING = re.compile(r"[\\`*_\[\]!~$^]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def as_text(words: str) -> str:
    """The words in one line, so that they show as they are: no link, image, markup or end of their cell."""
    line = " ".join(visible(words).split())
    return re.sub(r"[&<>|]", lambda found: _ENTITIES[found[0]], _ACTING.sub(r"\\\g<0>", line))
