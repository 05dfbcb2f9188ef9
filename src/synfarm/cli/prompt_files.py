"""Files that go into prompts: backgrounds as JSON, and examples of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from synfarm.cli.concept_source import FileKind, read_text
from synfarm.cli.exits import CommandFailed, ExitCode

__all__ = ["read_backgrounds", "read_examples"]

_SHAPE = '["a snowy yard", …] for all concepts, or {"dog": ["a snowy yard", …]} by concept'
_BACKGROUNDS = FileKind("backgrounds", f"write {_SHAPE}", 8 << 20)
_EXAMPLES = FileKind("examples", "begin with a line that names the columns pool,concept,second,caption", 1_000_000)


def read_backgrounds(path: Path) -> list[str] | dict[str, list[str]]:
    """The backgrounds of a file.

    Raises:
        CommandFailed: it cannot be read, or holds something else; the message tells where.
    """
    text = read_text(path, _BACKGROUNDS, option="--backgrounds ")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _refused(path, f"is not valid JSON: {error}; write {_SHAPE}.") from error
    if isinstance(found, dict) and found:
        return {name: _phrases(path, of, f"{name!r}: ") for name, of in found.items() if _is_phrase(path, name, "")}
    return _phrases(path, found, "")


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
