"""A user's own in-context examples: the text of a CSV or JSONL file, read line by line, with the line in each error."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from synfarm.contracts.origins import PoolFile
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.recipes import POOLS, PoolExample
from synfarm.contracts.wording import in_words
from synfarm_caption_api.prompts.pools import Pools
from synfarm_caption_api.prompts.template import EXAMPLES_PER_PROMPT

__all__ = ["join_pools", "read_pool_file"]

_COLUMNS = ("pool", "concept", "second", "caption")
_MOST = 20_000
_FEWEST = EXAMPLES_PER_PROMPT + 1
"""One to spare: the asked concept's own example is passed over."""


class _BadLine(ValueError):
    """A line, by its number, and what is wrong with it."""

    def __init__(self, number: int, fault: str) -> None:
        super().__init__(f"line {number}: {fault}")


def join_pools(ours: Pools, file: PoolFile | None) -> Pools:
    """Our pools with the file's rows behind them, or in their place.

    Raises:
        ProblemError: 422, a line cannot be read, or a pool would be too small to draw from.
    """
    if file is None:
        return ours
    rows = read_pool_file(file)
    named = {row.pool for row in rows}
    kept = [row for row in ours.rows if file.use == "extend" or row.pool not in named]
    joined = Pools.of_rows([*kept, *rows])
    for pool in POOLS:
        if pool in named and len(joined.of(pool)) < _FEWEST:
            detail = f"Pool {pool!r} has {len(joined.of(pool))} examples; a prompt shows 3 of at least {_FEWEST}."
            hint = f'Add examples to pool {pool!r}, or send "use": "extend" to keep ours beside them.'
            raise ProblemError(422, "pool_too_small", detail, field="examples.text", hint=hint)
    return joined


def read_pool_file(file: PoolFile) -> list[PoolExample]:
    """The rows of a file, with ids ``own-1``, ``own-2`` … in order.

    Raises:
        ProblemError: 422, with the number of the first bad line.
    """
    rows: list[PoolExample] = []
    seen: dict[tuple[str, str], int] = {}
    try:
        for number, fields in _csv(file.text) if file.format == "csv" else _jsonl(file.text):
            row = _row(number, fields, len(rows) + 1)
            first = seen.setdefault((row.pool, row.caption.casefold()), number)
            if first != number:
                raise _BadLine(number, f"line {first} has the same caption in the same pool")
            rows.append(row)
            if len(rows) > _MOST:
                raise _BadLine(number, f"this is example {len(rows)}; a file holds at most {_MOST}")
        if not rows:
            raise _BadLine(1, "no example follows")
    except _BadLine as error:
        hint = f"A line has {', '.join(_COLUMNS)}; the pools are {', '.join(POOLS)}."
        raise ProblemError(422, "bad_pool_file", f"examples, {error}.", field="examples.text", hint=hint) from error
    return rows


def _csv(text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        if sorted(header) != sorted(_COLUMNS):
            raise _BadLine(
                1, f"the first line must name the columns {','.join(_COLUMNS)}, not {','.join(header)[:80]!r}"
            )
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(header):
                fault = f"{len(fields)} fields instead of {len(header)}; put a field that holds a comma in quotes"
                raise _BadLine(reader.line_num, fault)
            yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise _BadLine(reader.line_num, f"no CSV: {error}") from error


def _jsonl(text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise _BadLine(number, f"no JSON: {error}") from error
        if not isinstance(fields, dict) or not {"pool", "concept", "caption"} <= fields.keys() <= set(_COLUMNS):
            raise _BadLine(number, f"it must be an object with {', '.join(_COLUMNS)}")
        yield number, fields


def _row(number: int, fields: Mapping[str, object], count: int) -> PoolExample:
    texts: dict[str, str] = {}
    for name, value in fields.items():
        if value is not None and not isinstance(value, str):
            raise _BadLine(number, f"{name} must be a text")
        if value is not None and value.strip():
            texts[name] = " ".join(value.split())
    try:
        return PoolExample.model_validate({"id": f"own-{count}", **texts})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = "is empty" if first["type"] == "missing" else in_words(error)
        raise _BadLine(number, f"{place} {message}".strip()) from error
