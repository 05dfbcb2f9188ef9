"""The text form of a concept list, one concept a line, so that a set of one's own needs no JSON."""

from __future__ import annotations

from pydantic import ValidationError

from synfarm.contracts.jobs import Concept, ConceptKind
from synfarm.contracts.wording import in_words

__all__ = ["BadConceptList", "parse_concept_list"]

_HEADINGS = {f"[{kind.value}]": kind for kind in ConceptKind}


class BadConceptList(ValueError):
    """A line of a concept list cannot be read; the message names it and says what to do."""

    def __init__(self, line: int, fault: str) -> None:
        """``line`` counts from 1; 0 where no single line is to blame."""
        super().__init__(f"line {line}: {fault}" if line else fault)
        self.line = line


def parse_concept_list(text: str) -> tuple[Concept, ...]:
    """The concepts of a list, in its order.

    One concept a line: its name, then perhaps a colon and other words for it, between commas. ``#`` begins a comment.
    ``[place]`` or ``[texture]`` on a line of its own tells what the lines after it name; a list begins as ``[object]``.

        # my concepts
        red panda: firefox, lesser panda
        kettle
        [place]
        harbor

    Raises:
        BadConceptList: a line is malformed, or says what another line has said; or there is no concept.
    """
    concepts: list[Concept] = []
    owners: dict[str, tuple[str, int]] = {}
    kind = ConceptKind.OBJECT
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = " ".join(raw.partition("#")[0].split())
        if line.startswith("["):
            kind = _kind(number, line)
        elif line:
            concept = _concept(number, line, kind)
            _claim(number, concept, owners)
            concepts.append(concept)
    if not concepts:
        raise BadConceptList(0, "the list names no concept; write one a line, for example: red panda: lesser panda")
    return tuple(concepts)


def _kind(number: int, line: str) -> ConceptKind:
    kind = _HEADINGS.get(line.replace(" ", ""))
    if kind is None:
        raise BadConceptList(number, f"{line} is none of the headings {', '.join(_HEADINGS)}")
    return kind


def _concept(number: int, line: str, kind: ConceptKind) -> Concept:
    name, colon, rest = line.partition(":")
    synonyms = [word.strip() for word in rest.split(",")] if colon else []
    if not name.strip():
        raise BadConceptList(number, "there is no name before the colon; write: name: synonym, synonym")
    if "," in name:
        raise BadConceptList(number, f"{name!r} holds a comma; write one concept a line, synonyms after a colon")
    if colon and not all(synonyms):
        raise BadConceptList(number, f"{name.strip()!r} has an empty synonym; write: name: synonym, synonym")
    try:
        return Concept.model_validate({"name": name.strip(), "synonyms": synonyms, "kind": kind})
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BadConceptList(number, f"{place}: {in_words(error)}") from error


def _claim(number: int, concept: Concept, owners: dict[str, tuple[str, int]]) -> None:
    """One word names one concept: a caption that holds it must not count for two."""
    for word in (concept.name, *concept.synonyms):
        owner, line = owners.setdefault(word.casefold(), (concept.name, number))
        if line != number:
            raise BadConceptList(number, f"{word!r} stands for {owner!r} already (line {line}); leave one of them out")
