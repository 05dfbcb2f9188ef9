"""The checks in their order: what a caption is refused for is the first thing that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from synfarm.contracts.captions import DropReason
from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import CaptionSettings
from synfarm_caption_api.gate.language import is_non_language
from synfarm_caption_api.gate.naming import names_concept
from synfarm_caption_api.gate.repeats import repeats
from synfarm_caption_api.gate.task_talk import talks_of_task
from synfarm_caption_api.gate.words import normal_form, words_of
from synfarm_caption_api.prompts.template import SEPARATOR

__all__ = ["refuse"]

_LABEL = re.compile(
    r"(?:^|[\s(*])(?:caption|concept|subject|background|relation|description|instruction|question|output|input|texture"
    r"|place|object|image|example|prompt)s?(?: \d+)?\*{0,2}:",
    re.IGNORECASE,
)
"""A field's name as prompts write it."""
_DANGLING = frozenset(
    {
        "a", "an", "and", "as", "at", "because", "but", "from", "his", "including", "into", "is", "its", "my", "of",
        "or", "our", "than", "that", "the", "their", "very", "was", "were", "which", "with", "your",
    }
)  # fmt: skip
"""No caption ends in one of these, whatever the server says of why it stopped."""


def refuse(
    caption: str | None, concept: Concept, examples: Iterable[str], settings: CaptionSettings
) -> DropReason | None:
    """Why a cleaned caption is not kept, or None if it is. ``examples`` are the captions that its prompt showed.

    Background and relation of the other templates need not stand in it: a model that writes 'on a snowy slope' for
    'snowy mountain' did what it was asked, and to insist would breed captions that repeat their prompt. How many name
    them is counted instead (see :func:`synfarm_caption_api.gate.names_second`).
    """
    if caption is None:
        return DropReason.UNFINISHED
    words = words_of(caption)
    if not words:
        return DropReason.EMPTY if not caption.strip() or len(caption) < 4 else DropReason.NON_LANGUAGE
    shown = tuple(examples)
    if _leaks(caption, words, concept, shown):
        return DropReason.PROMPT_LEAK
    if is_non_language(caption, words, concept, shown):
        return DropReason.NON_LANGUAGE
    if talks_of_task(caption, words, concept):
        return DropReason.REFUSAL
    if len(words) < settings.min_words:
        return DropReason.TOO_SHORT
    if len(words) > settings.max_words:
        return DropReason.TOO_LONG
    if words[-1] in _DANGLING or caption[-1] in ",;:-–—(":
        return DropReason.UNFINISHED
    if not names_concept(caption, concept):
        return DropReason.CONCEPT_LOST
    return DropReason.REPEATS if repeats(words) else None


def _leaks(caption: str, words: Sequence[str], concept: Concept, examples: tuple[str, ...]) -> bool:
    if SEPARATOR in caption or "->" in caption:
        return True
    if ":" in caption and _LABEL.search(caption) is not None and _LABEL.search(concept.name + ":") is None:
        return True
    normal = " ".join(words)
    return any(_normal(example) in normal for example in examples)


@lru_cache(maxsize=1 << 12)  # a pure function; pools hold some hundred examples
def _normal(example: str) -> str:
    return normal_form(example)
