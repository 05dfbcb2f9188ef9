"""The layout of prompts (paper section 3.1): plain completion, an instruction, three examples, then the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synfarm.contracts.concepts import ConceptKind
from synfarm.contracts.origins import Layout, Template
from synfarm.contracts.recipes import PoolName

__all__ = ["EXAMPLES_PER_PROMPT", "SEPARATOR", "Writer", "pool_of"]

EXAMPLES_PER_PROMPT = 3
SEPARATOR = "=>"

_INSTRUCTIONS: Mapping[PoolName, str] = {
    "object": "Describe an image in one sentence, given the object it shows:",
    "place": "Describe an image in one sentence, given the place it shows:",
    "texture": "Describe an image in one sentence, given the texture it shows:",
    "background": "Describe an image in one sentence, given the object it shows and its surroundings:",
    "relation": "Describe an image in one sentence, given the object it shows and its relation to something else:",
}
_INDENTS: Mapping[PoolName, int] = {"object": 36, "place": 36, "texture": 52, "background": 59, "relation": 75}
"""Spaces before the lines of the released script's prompts, which its own source code put there."""
_BY_KIND: Mapping[ConceptKind, PoolName] = {
    ConceptKind.OBJECT: "object",
    ConceptKind.PLACE: "place",
    ConceptKind.TEXTURE: "texture",
}


def pool_of(template: Template, kind: ConceptKind) -> PoolName:
    """The pool whose examples show what is asked for: by the kind of concept for ``c``, else by the template."""
    if template is Template.BACKGROUND:
        return "background"
    if template is Template.RELATION:
        return "relation"
    return _BY_KIND[kind]


class Writer:
    """Writes prompts of one layout; what does not change from prompt to prompt is made once."""

    def __init__(self, layout: Layout) -> None:
        self._subject = layout is Layout.SUBJECT
        indents = _INDENTS if layout is Layout.RELEASE else dict.fromkeys(_INDENTS, 0)
        self._heads = {pool: text + "\n\n" for pool, text in _INSTRUCTIONS.items()}
        self._indents = {pool: " " * indent for pool, indent in indents.items()}

    def shown(self, pool: PoolName, concept: str, second: str | None, caption: str) -> str:
        """An example as it stands in a prompt, with the empty line after it."""
        return f"{self._asked(pool, concept, second)} {caption}\n\n"

    def prompt(self, pool: PoolName, shown: Sequence[str], concept: str, second: str | None = None) -> str:
        """The prompt; it ends right after the separator, because a trailing space changes the model's next token."""
        return f"{self._heads[pool]}{''.join(shown)}{self._asked(pool, concept, second)}"

    def _asked(self, pool: PoolName, concept: str, second: str | None) -> str:
        key = concept if second is None else f"{concept}, {second}"
        if self._subject:
            return f"Subject: {key}. Caption:"
        return f"{self._indents[pool]}{key} {SEPARATOR}"
