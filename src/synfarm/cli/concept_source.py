"""Concepts as a user gives them: words on the command line, a file of text or JSON, or stdin."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from synfarm.contracts.jobs import Concept

__all__ = ["MAX_BYTES", "FileKind", "concepts_from_text", "read_concepts", "read_text"]

MAX_BYTES = 8 << 20
"""A job takes 50,000 concepts: a larger file is another one than was meant."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file should hold, for the sentences about one that does not."""

    what: str
    cure: str
    most: int
    """Bytes."""


_CONCEPTS = FileKind("concepts", "write one concept a line, for example: red panda: lesser panda", MAX_BYTES)


def _refused(source: str, what: str) -> CommandFailed:
    return CommandFailed(f"{source}: {what}", ExitCode.REFUSED)


def read_text(path: Path, kind: FileKind = _CONCEPTS, *, option: str = "") -> str:
    """The text of a file; of stdin if the path is ``-``. ``option`` stands before the path in errors.

    Raises:
        CommandFailed: there is none, it is too large, or it is no text.
    """
    source = "stdin" if str(path) == "-" else f"{option}{path}"
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(kind.most + 1)
        else:
            with path.open("rb") as file:
                data = file.read(kind.most + 1)
    except OSError as error:
        raise _refused(source, f"cannot be read: {error.strerror or error}.") from error
    if len(data) > kind.most:
        size = f"{kind.most >> 20} MB" if kind.most >= 1 << 20 else f"{kind.most} bytes"
        raise _refused(source, f"is larger than {size}: is it another file than the {kind.what}?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(source, f"is no UTF-8 text (byte {error.start} is none): is it another file?") from error
    if "\0" in text:
        raise _refused(source, f"holds binary data, not {kind.what}.")
    if not text.strip():
        raise _refused(source, f"is empty: {kind.cure}")
    return text


def concepts_from_text(text: str, source: str) -> tuple[Concept, ...]:
    """The concepts of a list: JSON if it begins like JSON, else one a line.

    Raises:
        CommandFailed: it is malformed, or names a concept twice; the message says where and what to do.
    """
    from synfarm.concepts.listing import BadConceptList, parse_concept_list

    # `[place]` is a heading of the text form; a JSON list goes on with a quote, a brace or its end.
    if re.match(r'\s*(\{|\[\s*(["{\]]|$))', text):
        return _from_json(text, source)
    try:
        return parse_concept_list(text)
    except BadConceptList as error:
        raise _refused(source, f"{error}.") from error


def _from_json(text: str, source: str) -> tuple[Concept, ...]:
    from pydantic import ValidationError

    from synfarm.contracts.jobs import Concept
    from synfarm.contracts.wording import in_words

    try:
        found = json.loads(text)
    except ValueError as error:
        raise _refused(source, f"is not valid JSON: {error}.") from error
    if isinstance(found, dict):
        found = found.get("concepts")
    if not isinstance(found, list) or not found:
        raise _refused(source, 'must hold a JSON list of concepts, for example ["dog", "red panda"].')
    concepts: list[Concept] = []
    seen: dict[str, int] = {}
    for number, item in enumerate(found, 1):
        try:
            concept = Concept.model_validate({"name": item} if isinstance(item, str) else item)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            told = f"{place + ': ' if place else ''}{in_words(error)}"
            raise _refused(source, f"concept {number}: {told}.") from error
        before = seen.setdefault(concept.name.casefold(), number)
        if before != number:
            raise _refused(source, f"concept {number}: {concept.name!r} is concept {before} already; leave one out.")
        concepts.append(concept)
    return tuple(concepts)


def read_concepts(
    path: Path | None, words: Sequence[str], *, by_word: str = "--concept ", others: str = "", by_concept: bool = False
) -> tuple[Concept, ...]:
    """The concepts of a file or stdin, or those named one by one.

    Args:
        by_word: what stands before a word on this command's line; empty where words are arguments of their own.
        others: what this command takes in place of concepts, for the sentence that says that there is nothing.
        by_concept: this command has `--concept`, which may be what was meant by a file that is not there.

    Raises:
        CommandFailed: both are given, or none, or they cannot be used.
    """
    if (path is None) == (not words):
        how = f"one by one: {by_word}dog {by_word}'red panda'"
        file = "by a file with one a line ('-' for stdin)"
        what = "not both" if words else "no concepts given"
        instead = f"; or {others}" if others and not words else ""
        raise CommandFailed(f"{what}: name them {file}, or {how}{instead}.", ExitCode.REFUSED)
    if path is None:
        # Where a word is a concept, the next command takes it for a file.
        for word in words if not by_word else ():
            if os.path.isfile(word):
                raise CommandFailed(f"{word} is a file: --file {shlex.quote(word)}", ExitCode.REFUSED)
        return concepts_from_text("\n".join(words), by_word.strip() or "concepts")
    if by_concept and not path.suffix and str(path) != "-" and not path.exists():
        cure = f"`--concept {shlex.quote(str(path))}` names a concept."
        raise CommandFailed(f"there is no file {str(path)!r}; {cure}", ExitCode.REFUSED)
    return concepts_from_text(read_text(path), "stdin" if str(path) == "-" else str(path))
