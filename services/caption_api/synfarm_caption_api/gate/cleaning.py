"""Cuts the caption out of an answer: its first line, in whole sentences."""

from __future__ import annotations

import re

from synfarm.contracts.jobs import CaptionSettings
from synfarm_caption_api.gate.words import words_of

__all__ = ["clean"]

_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)")
_INNER_END = re.compile(r"[.!?][\"')\]]*\s")
_LIST_MARK = re.compile(r"(?:[-*•–]|\d{1,2}[.)]) +(?=\S)")
_QUOTES = "\"'“”‘’"


def clean(text: str, settings: CaptionSettings, *, truncated: bool) -> str | None:
    """The caption inside an answer: its first line, in whole sentences that fit ``max_words``.

    A bullet or a number before it and quotes around it are layout, not caption. Cleaning a cleaned text changes
    nothing.

    ``truncated`` says that the answer ended at the token limit: its last sentence is then no sentence.
    None if nothing finished is left; '' if the answer begins with a line break or is blank.
    """
    head, newline, _ = text.partition("\n")
    line = " ".join(head.split())
    truncated = truncated and not newline
    if line[:1].isalpha() and line[-1] not in _QUOTES and _INNER_END.search(line) is None:
        return line if not truncated or _SENTENCE_END.search(line) else None  # most captions: nothing to cut
    line = _bare(line)
    if not line:
        return ""
    cut = _whole_sentences(line, settings.max_words, truncated=truncated)
    while cut:
        # What is left may stand in quotes of its own now; each turn is shorter than the one before.
        again = _whole_sentences(_bare(cut), settings.max_words, truncated=False)
        if again == cut:
            break
        cut = again
    return cut


def _bare(line: str) -> str:
    """Without quotes around it, and without a list's mark before it."""
    while True:
        bare = line
        if len(bare) > 1 and bare[0] in _QUOTES and bare[-1] in _QUOTES:
            bare = bare[1:-1].strip()
        match = _LIST_MARK.match(bare)
        if match:
            bare = bare[match.end() :]
        if bare == line:
            return "" if bare and bare in _QUOTES else bare
        line = bare


def _whole_sentences(line: str, max_words: int, *, truncated: bool) -> str | None:
    ends = [match.end() for match in _SENTENCE_END.finditer(line)]
    if not truncated and (not ends or ends[-1] != len(line)):
        ends.append(len(line))
    if not ends:
        return None
    if len(ends) == 1:
        return line[: ends[0]]
    fitting = [end for end in ends if len(words_of(line[:end])) <= max_words]
    return line[: max(fitting, default=ends[0])]
