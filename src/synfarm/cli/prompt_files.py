"""Files that go into prompts: backgrounds as JSON, and examples of one's own."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synfarm.cli.concept_source import FileKind, read_text
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.screen import errors, say

if TYPE_CHECKING:
    from synfarm.contracts.concepts import Concept

__all__ = ["read_backgrounds", "read_examples"]

_SHAPE = '["a snowy yard", …] for all concepts, or {"dog": ["a snowy yard", …]} by concept'
_BACKGROUNDS = FileKind("backgrounds", f"write {_SHAPE}", 8 << 20)
_EXAMPLES = FileKind("examples", "begin with a line that names the columns pool,concept,second,caption", 1_000_000)


def read_backgrounds(path: Path, concepts: Sequence[Concept] = ()) -> list[str] | dict[str, list[str]]:
    """The backgrounds of a file.

    Args:
        concepts: all that the request has, where they are known: lists of others are left out, which stderr tells.

    Raises:
        CommandFailed: it cannot be read, holds something else, or nothing for these concepts; the message tells where.
    """
    text = read_text(path, _BACKGROUNDS, option="--backgrounds ")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _refused(path, f"is not valid JSON: {error}; write {_SHAPE}.") from error
    if isinstance(found, dict) and found:
        lists = {name: _phrases(path, of, f"{name!r}: ") for name, of in found.items() if _is_phrase(path, name, "")}
        return _of_concepts(path, lists, concepts) if concepts else lists
    return _phrases(path, found, "")


def _of_concepts(path: Path, lists: dict[str, list[str]], concepts: Sequence[Concept]) -> dict[str, list[str]]:
    """One file serves many jobs: the farm refuses names that a job does not have."""
    names = {concept.name.casefold(): concept.name for concept in concepts}
    kept = {name: settings for name, settings in lists.items() if name.casefold() in names}
    others = [name for name in lists if name not in kept]
    if not kept:
        near = difflib.get_close_matches(others[0].casefold(), names, n=1, cutoff=0.6)
        hint = f"Did you mean {names[near[0]]}?" if near else "Add lists for them, or leave --backgrounds out."
        what = f"no list is of a concept of this request; the first is of {others[0]!r}."
        raise _refused(path, f"{what} {hint}")
    if others:
        named = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        say(
            errors(),
            f"--backgrounds {path}: {len(others)} of {len(lists)} lists left out, "
            f"for the request has no such concept: {named}",
        )
    return kept


def _phrases(path: Path, found: Any, where: str) -> list[str]:
    if not isinstance(found, list) or not found:
        raise _refused(path, f"{where}must hold backgrounds: {_SHAPE}.")
    if len(found) > 1000:
        raise _refused(path, f"{where}has {len(found)} backgrounds; at most 1000 are taken.")
    return [item for number, item in enumerate(found, 1) if _is_phrase(path, item, f"{where}item {number}: ")]


def _is_phrase(path: Path, item: object, where: str) -> bool:
    """True.

    Raises:
        CommandFailed: it is none.
    """
    from pydantic import TypeAdapter, ValidationError

    from synfarm.contracts.concepts import Phrase
    from synfarm.contracts.wording import in_words

    try:
        TypeAdapter(Phrase).validate_python(item)
    except ValidationError as error:
        raise _refused(path, f"{where}{str(item)[:80]!r}: {in_words(error)}.") from error
    return True


def read_examples(path: Path, use: str) -> dict[str, str]:
    """The examples of a file, as a request has them; CSV unless its name or its first character tells of JSON lines.

    Raises:
        CommandFailed: it cannot be read. What its lines hold is the farm's to judge.
    """
    text = read_text(path, _EXAMPLES, option="--examples ")
    lines = path.suffix.casefold() in {".jsonl", ".ndjson"} or text.lstrip().startswith("{")
    return {"format": "jsonl" if lines else "csv", "use": use, "text": text}


def _refused(path: Path, what: str) -> CommandFailed:
    return CommandFailed(f"--backgrounds {path}: {what}", ExitCode.REFUSED)
